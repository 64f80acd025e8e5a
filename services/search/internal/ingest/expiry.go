package ingest

import (
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// maxTTL is how long a document may live that ends.
const maxTTL = 100 * 366 * 24 * time.Hour

// expiry returns when the document ends; zero: never. A time that is past is
// refused: what it asks for is a deletion.
func (g *Ingester) expiry(in Input) (time.Time, *apierr.Error) {
	now := g.o.Clock.Now()
	switch {
	case in.TTL != nil && in.ExpireTime != nil:
		return time.Time{}, apierr.Invalid("ttl", "cannot come with expire_time")
	case in.TTL != nil && (*in.TTL <= 0 || *in.TTL > maxTTL):
		return time.Time{}, apierr.Invalid("ttl", "must be positive, and at most 100 years")
	case in.TTL != nil:
		return now.Add(*in.TTL), nil
	case in.ExpireTime == nil:
		return time.Time{}, nil
	case !in.ExpireTime.After(now) || in.ExpireTime.After(now.Add(maxTTL)):
		return time.Time{}, apierr.Invalid("expire_time", "must be in the future, and at most 100 years away")
	default:
		return *in.ExpireTime, nil
	}
}
