package limit

import "context"

// Away is what becomes of an ask while the store that replicas share is away.
type Away int

// What may become of it.
const (
	// AwayLocal has each replica admit its share.
	AwayLocal Away = iota
	// AwayAllow has each admit everything.
	AwayAllow
	// AwayRefuse has each refuse everything.
	AwayRefuse
)

// Ask is what is wanted of one bucket.
type Ask struct {
	// Bucket names it; whatever shares a name shares the bucket.
	Bucket string
	// Limit is how much the bucket may have.
	Limit Limit
	// Cost is how much is wanted; negative, where Settle gives back.
	Cost int
	// Away is what to do without the shared store.
	Away Away
}

// None is the index of the ask that was refused when none was.
const None = -1

// Buckets takes from several buckets at once. Implementations are safe for concurrent
// use, and keep neither asks nor out.
type Buckets interface {
	// Take takes what all asks want, each of another bucket, or nothing when one of
	// the buckets does not have it: the first such is returned, or None. out, which is as long as
	// asks, is filled with a decision for each.
	Take(ctx context.Context, asks []Ask, out []Decision) (refused int, err error)
	// Look fills out with what the buckets have, and takes nothing.
	Look(ctx context.Context, asks []Ask, out []Decision) error
	// Settle takes costs whatever is left, and gives back negative ones. It may do so
	// a moment later.
	Settle(ctx context.Context, asks []Ask) error
}

func checkAll(asks []Ask) error {
	for _, a := range asks {
		if err := a.Limit.check(a.Cost); err != nil {
			return err
		}
	}
	return nil
}

// tooMuch returns the first ask for more than ever comes at once.
func tooMuch(asks []Ask) int {
	for i, a := range asks {
		if a.Cost > a.Limit.AtOnce() {
			return i
		}
	}
	return None
}
