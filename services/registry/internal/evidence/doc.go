// Package evidence keeps what requests came to, arm by arm, and says what can be
// concluded from it. The mathematics are in package sequential, which knows
// nothing of models; the tables are in package store. Begin with Keeper.
package evidence
