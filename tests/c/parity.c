/* Every instruction set that this machine has against plain loops in double.
 *
 * For machines and emulators that have a C library but no Python: where there is one, tests/ does
 * this and more. Arguments name the instruction sets to check. Prints a line for each instruction
 * set, and what is wrong; the exit status is 1 if anything is. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "parity.h"

static int is_wanted(const char *isa, int n, char **names)
{
    int found = n < 2;
    for (int i = 1; i < n; i++) {
        found |= !strcmp(names[i], isa);
    }
    return found;
}

int main(int n, char **names)
{
    size_t wrong = 0, checked = 0;
    fm_set_exchange(2); /* so that the same is checked every time */
    for (size_t i = 0; fm_available_isa(i); i++) {
        if (!is_wanted(fm_available_isa(i), n, names)) {
            continue;
        }
        checked++;
        begin_isa(fm_available_isa(i));
        expect(fm_set_isa(fm_available_isa(i)) == FM_OK, "the instruction set can be chosen");
        for (int as = FM_FLOAT32; as <= FM_FLOAT64; as++) {
            begin_dtype((fm_dtype)as);
            check_operations();
            check_networks();
            check_regularized();
            check_dropout();
        }
        wrong += end_isa();
    }
    return wrong != 0 || checked == 0;
}
