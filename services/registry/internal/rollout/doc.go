// Package rollout decides what becomes of a rollout and does it: Decide is the
// state machine, a function of what is stored and what was counted; Controller
// asks it again and again while it holds the lease; Pause, Resume, Force and Abort
// are what people may do. Every move commits as one change of the store, split,
// alias and event together, so a process that ends between two moves leaves
// nothing half done. Start reading at Decide.
package rollout
