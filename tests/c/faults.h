// SPDX-License-Identifier: Apache-2.0
// faults.h - makes chosen system calls of the shim fail (c/sys.h with MR_FAULTS); called by the C tests.
#ifndef MR_TESTS_FAULTS_H
#define MR_TESTS_FAULTS_H

#include <stdint.h>

#include "sys.h"

// From the skip-th call from now on, times calls fail with the errno result, or, when it is -n, move at most
// n bytes. Several rules may be set; the first one that applies decides.
void t_fault(enum sys_call call, uint32_t skip, uint32_t times, int result);

// Forgets all rules and counts.
void t_faults_clear(void);

// How many calls a rule has hit since t_faults_clear.
uint32_t t_faults_fired(void);

// How many calls of one kind were made since t_faults_clear.
uint32_t t_fault_calls(enum sys_call call);

const char *t_fault_name(enum sys_call call);

#endif
