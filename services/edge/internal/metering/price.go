package metering

import (
	"context"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// HeaderCost is what a request cost, all the work of models that it took: `0.000123
// USD`. It is not there where that has no price. Of a stream it is a trailer.
const HeaderCost = "x-poterne-cost"

// Work is what a model did, or what was saved since it had not to.
type Work struct {
	Kind   Kind
	By     *inferencev1.ServedBy
	Tokens *commonv1.TokenUsage
	// Time is when it was asked for.
	Time time.Time
}

// Pricer is a Meter that knows what work costs.
type Pricer interface {
	// Price returns the cost in millionths of the currency; false: there is no price.
	Price(w Work) (micros int64, currency string, priced bool)
}

// Saver is a Meter that is told of work that no model had to do, since the answer was
// kept.
type Saver interface {
	// Saved is told what was saved; whole says that all of the answer was.
	Saved(ctx context.Context, w Work, whole bool)
}

// Saved tells the meters that want to know.
func (m Meters) Saved(ctx context.Context, w Work, whole bool) {
	for _, meter := range m {
		if s, ok := meter.(Saver); ok {
			s.Saved(ctx, w, whole)
		}
	}
}

// Price asks the first of the meters that knows.
func (m Meters) Price(w Work) (micros int64, currency string, priced bool) {
	for _, meter := range m {
		if p, ok := meter.(Pricer); ok {
			return p.Price(w)
		}
	}
	return 0, "", false
}
