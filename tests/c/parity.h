/* What is checked, on the current instruction set and dtype. */
#ifndef PARITY_H
#define PARITY_H

void check_operations(void); /* one by one */
void check_networks(void);   /* training, prediction */

#endif
