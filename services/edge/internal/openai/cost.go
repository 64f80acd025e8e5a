package openai

import (
	"context"
	"strconv"
	"time"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/price"
	"github.com/poterne/poterne/services/edge/internal/usagedetail"
)

// memberCost is the member of a stream's usage that says what the request cost: its
// header was sent before that was known.
const memberCost = "poterne_cost"

// tellCost adds to the usage that comes in a stream what the request cost, the answer
// with it, which is settled later. An answer that is given again costs nothing but what
// finding it did.
func (s *Server) tellCost(ctx context.Context, by *inferencev1.ServedBy, u *edgev1.Usage, p *plan, begun time.Time) {
	micros, currency := audit.From(ctx).Cost()
	cost, own, priced := s.Meters.Price(metering.Work{Kind: metering.Generate, By: by, Time: begun, Tokens: usagedetail.Of(u)})
	if p != nil && !p.replayed {
		micros = p.spent
	}
	if priced {
		if currency = own; p == nil || !p.replayed {
			micros += cost
		}
	}
	setCost(u, micros, currency)
}

// saved tells the meters of work that was not done. What has a price cost 0 then, which
// the caller is told as any other cost.
func (s *Server) saved(ctx context.Context, w metering.Work, whole bool) {
	s.Meters.Saved(ctx, w, whole)
	w.Time = s.Clock.Now()
	if _, currency, priced := s.Meters.Price(w); priced {
		audit.From(ctx).AddCost(0, currency)
	}
}

// tellBill is tellCost for usage that is told once a stream has ended. The answer is
// settled then, unless it is made to be kept: the work on that ends when it does.
func (s *Server) tellBill(ctx context.Context, by *inferencev1.ServedBy, u *edgev1.Usage, p *plan, begun time.Time) {
	if p != nil {
		s.tellCost(ctx, by, u, p, begun)
		return
	}
	micros, currency := audit.From(ctx).Cost()
	setCost(u, micros, currency)
}

// setCost has usage tell of a cost; without a currency there is none.
func setCost(u *edgev1.Usage, micros int64, currency string) {
	if currency == "" {
		delete(u.GetExtra(), memberCost) // an engine's is not the gateway's
		return
	}
	if u.Extra == nil {
		u.Extra = make(map[string]string, 1)
	}
	u.Extra[memberCost] = strconv.Quote(price.Micros(micros).String() + " " + currency)
}
