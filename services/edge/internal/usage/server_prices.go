package usage

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/price"
)

const (
	// clockSlack is how far behind the gateway's clock an administrator's may be.
	clockSlack = time.Minute
	maxAhead   = 3660 * 24 * time.Hour
)

// SetPrice sets a price.
func (s *Server) SetPrice(ctx context.Context, req *edgev1.SetPriceRequest) (*edgev1.SetPriceResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	in := req.GetPrice()
	p := price.Price{Currency: or(in.GetCurrency(), s.usage.cfg.Currency), Removed: in.GetRemoved(), CreateTime: s.usage.now(), Creator: c.Subject + "@" + c.Tenant}
	if p.Target, err = price.ParseTarget(in.GetModel(), in.GetVariant()); err != nil {
		if strings.ContainsFunc(in.GetVariant(), unicode.IsControl) {
			return nil, apierr.Invalid("price.variant", "price.variant must not have control characters")
		}
		return nil, apierr.Invalid("price.model", "price.model must be a model such as chat, a version such as chat@v3, a digest, or *")
	}
	if p.Currency != s.usage.cfg.Currency {
		return nil, apierr.Invalid("price.currency", "price.currency must be %s, the gateway's", s.usage.cfg.Currency)
	}
	if !p.Removed && in.GetRates() == nil {
		return nil, apierr.Invalid("price.rates", "price.rates is required")
	}
	if p.ValidFrom = p.CreateTime; in.GetValidFrom() != nil {
		if in.GetValidFrom().CheckValid() != nil {
			return nil, apierr.Invalid("price.valid_from", "price.valid_from is not a time")
		}
		p.ValidFrom = in.GetValidFrom().AsTime().Truncate(time.Microsecond)
	}
	if p.ValidFrom.Before(p.CreateTime.Add(-clockSlack)) || p.ValidFrom.After(p.CreateTime.Add(maxAhead)) {
		return nil, apierr.Invalid("price.valid_from", "price.valid_from must not be in the past, since what was billed stays, nor more than ten years ahead")
	}
	if !p.Removed {
		p.Rates = ratesOf(in.GetRates())
	}
	audit.From(ctx).SetResource("price " + p.Target.Key())
	if p, err = s.usage.prices.Set(ctx, p, p.CreateTime); err != nil {
		if errors.Is(err, price.ErrBegun) {
			return nil, apierr.New(apierr.AlreadyExists, "a price holds from that very time on, and what was billed by it stays: set one from a later time on").WithField("price.valid_from")
		}
		return nil, priceError(err)
	}
	s.log.InfoContext(ctx, "a price is set", slog.String("model", p.Target.Reference()), slog.Int64("revision", p.Revision))
	if err := s.usage.follow(ctx); err != nil {
		return nil, storeError(err)
	}
	return &edgev1.SetPriceResponse{Price: priceMessage(p), Warnings: append(s.unknown(p), s.free(p)...)}, nil
}

// DeletePrice takes back a price that does not hold yet.
func (s *Server) DeletePrice(ctx context.Context, req *edgev1.DeletePriceRequest) (*edgev1.DeletePriceResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	p, err := s.usage.prices.Delete(ctx, req.GetRevision(), s.usage.now())
	if err != nil {
		return nil, priceError(err)
	}
	audit.From(ctx).SetResource("price " + p.Target.Key())
	s.log.InfoContext(ctx, "a price is taken back", slog.String("model", p.Target.Reference()), slog.Int64("revision", p.Revision))
	if err := s.usage.follow(ctx); err != nil {
		return nil, storeError(err)
	}
	return &edgev1.DeletePriceResponse{Price: priceMessage(p)}, nil
}

func priceError(err error) error {
	switch {
	case errors.Is(err, price.ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no such price").WithField("revision")
	case errors.Is(err, price.ErrBegun):
		return apierr.New(apierr.FailedPrecondition, "the price holds already, and what was billed by it stays: set another one, or remove it from a time on").WithField("revision")
	case errors.Is(err, price.ErrFull):
		return apierr.New(apierr.FailedPrecondition, "there are %d prices, as many as may be", price.MaxPrices)
	default:
		return storeError(err)
	}
}

// ListPrices lists prices.
func (s *Server) ListPrices(ctx context.Context, req *edgev1.ListPricesRequest) (*edgev1.ListPricesResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	list, err := s.usage.prices.List(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	if !req.GetHistory() {
		list = price.InForce(list, s.usage.now())
	}
	limit, offset, err := pageOf(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &edgev1.ListPricesResponse{Currency: s.usage.cfg.Currency}
	list = list[min(offset, len(list)):]
	if len(list) > limit {
		list = list[:limit]
		out.NextPageToken = strconv.Itoa(offset + limit)
	}
	for _, p := range list {
		out.Prices = append(out.Prices, priceMessage(p))
	}
	return out, nil
}

func ratesOf(r *edgev1.PriceRates) price.Rates {
	return price.Rates{
		Input: r.GetInput(), Cached: r.CachedInput, Output: r.GetOutput(), Embedding: r.GetEmbedding(), Rerank: r.GetRerank(), Request: r.GetRequest(),
		Reasoning: r.Reasoning, AudioInput: r.AudioInput, AudioOutput: r.AudioOutput, Document: r.GetDocument(),
	}
}

func priceMessage(p price.Price) *edgev1.Price {
	return &edgev1.Price{
		Model: p.Target.Reference(), Variant: p.Target.Variant, Currency: p.Currency, ValidFrom: timestamppb.New(p.ValidFrom), Removed: p.Removed,
		CreateTime: timestamppb.New(p.CreateTime), Creator: p.Creator, Revision: p.Revision,
		Rates: &edgev1.PriceRates{
			Input: p.Rates.Input, CachedInput: p.Rates.Cached, Output: p.Rates.Output, Embedding: p.Rates.Embedding, Rerank: p.Rates.Rerank, Request: p.Rates.Request,
			Reasoning: p.Rates.Reasoning, AudioInput: p.Rates.AudioInput, AudioOutput: p.Rates.AudioOutput, Document: p.Rates.Document,
		},
	}
}
