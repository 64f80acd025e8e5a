// Package evidence says what can be concluded from what requests came to, arm by
// arm. The mathematics are in package sequential, which knows nothing of models;
// the sums are in package store. Begin with Keeper.
package evidence
