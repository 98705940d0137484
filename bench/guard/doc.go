// Package guard holds what a line costs against committed figures, on any machine: the
// memory that is allocated for it, which is the same everywhere, and processor time as a
// multiple of what the machine's limit takes with the same bytes, in the same process and
// in turns. It has nothing but its test.
package guard
