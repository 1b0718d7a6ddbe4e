// Package conventions holds no code: its tests keep the repository to its own rules. They say which package
// may import which and why, that every package says what it is for, how metrics are named, what only main may
// do, when a test may be skipped, and that the commands in the documentation exist.
//
// Each rule is a function that is first tried on an example that breaks it, then on the repository.
package conventions
