// Package sticky finds where requests of one key go, so that they stay together: alike
// on every replica without any word between them, with little movement when a target
// joins or leaves, and with no target far above the others. It knows neither workers
// nor sessions. Start reading at Home.
//
// It is consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam,
// "Consistent Hashing with Bounded Loads", 2016; hash-balance-factor in HAProxy,
// hash_balance_factor in Envoy), with rendezvous hashing (Thaler and Ravishankar, 1998)
// in the place of the ring: each key has an order of its own over the targets, and goes
// to the first that is below its bound.
package sticky

import "math"

// DefaultBalance is a bound of a quarter above the mean, where the paper's and HAProxy's
// examples are: less moves more keys, more lets targets differ more.
const DefaultBalance = 1.25

// Target is one of those that keys are given to.
type Target struct {
	// Hash stands for the target, alike on every replica.
	Hash uint64
	// Load is what it has in hand, and Capacity its share of the whole in proportion to
	// the others': at least 1.
	Load, Capacity int64
	// Away targets are given nothing; what they have in hand counts for the mean.
	Away bool
}

// Home returns the number of the target, from 0 to below n, that a request of a key is
// given to; -1 when all that are not away are at their bound. With one more request,
// none gets above balance times its part of all, rounded up, by it. balance is above 1.
func Home(key uint64, n int, at func(i int) Target, balance float64) int {
	var load, capacity int64
	for i := range n {
		t := at(i)
		load, capacity = load+t.Load, capacity+t.Capacity
	}
	best, most := -1, uint64(0)
	each := balance * float64(load+1) / float64(capacity)
	for i := range n {
		t := at(i)
		if t.Away || float64(t.Load+1) > math.Ceil(each*float64(t.Capacity)) {
			continue
		}
		if w := mix(key ^ t.Hash); best < 0 || w > most {
			best, most = i, w
		}
	}
	return best
}

// mix is the final mixing of MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
