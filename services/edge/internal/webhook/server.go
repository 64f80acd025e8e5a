package webhook

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/standardwebhook"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/envelope"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/outputonly"
)

const (
	defaultPageSize = 100
	// storeRetry is when to try again after the store did not answer.
	storeRetry = time.Second
)

// ServerDeps is what a Server works with; all of it is needed but Sender.
type ServerDeps struct {
	Store *SQLStore
	// Sender is nil where there is no key for secrets: then there are no webhooks.
	Sender *Sender
	Clock  clock.Clock
	IDs    ids.Source
	Log    *slog.Logger
}

// Server is the WebhookService. Every method's permission was checked before it is
// called. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedWebhookServiceServer
	ServerDeps
}

// NewServer returns a server.
func NewServer(d ServerDeps) *Server { return &Server{ServerDeps: d} }

// begin returns the caller, and the tenant that a request is about.
func (s *Server) begin(ctx context.Context, tenant string) (identity.Caller, string, error) {
	c, ok := identity.FromContext(ctx)
	switch {
	case !ok:
		return c, "", apierr.New(apierr.Internal, "the request was not authenticated")
	case s.Sender == nil:
		return c, "", apierr.New(apierr.FailedPrecondition, "there are no webhooks here: webhooks.key is empty, or usage.enabled is false")
	case tenant == "":
		tenant = c.Tenant
	}
	return c, tenant, nil
}

// ListWebhooks implements edgev1.WebhookServiceServer.
func (s *Server) ListWebhooks(ctx context.Context, req *edgev1.ListWebhooksRequest) (*edgev1.ListWebhooksResponse, error) {
	_, tenant, err := s.begin(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	list, err := s.Store.List(ctx, tenant)
	if err != nil {
		return nil, storeError(err)
	}
	out := new(edgev1.ListWebhooksResponse)
	for i := range list {
		out.Webhooks = append(out.Webhooks, s.message(&list[i]))
	}
	return out, nil
}

// GetWebhook implements edgev1.WebhookServiceServer.
func (s *Server) GetWebhook(ctx context.Context, req *edgev1.GetWebhookRequest) (*edgev1.GetWebhookResponse, error) {
	h, err := s.find(ctx, req.GetTenant(), req.GetId())
	if err != nil {
		return nil, err
	}
	return &edgev1.GetWebhookResponse{Webhook: s.message(&h)}, nil
}

func (s *Server) find(ctx context.Context, tenant, id string) (Hook, error) {
	_, tenant, err := s.begin(ctx, tenant)
	if err != nil {
		return Hook{}, err
	}
	h, err := s.Store.Get(ctx, tenant, id)
	return h, storeError(err)
}

// SetWebhook implements edgev1.WebhookServiceServer.
func (s *Server) SetWebhook(ctx context.Context, req *edgev1.SetWebhookRequest) (*edgev1.SetWebhookResponse, error) {
	c, tenant, err := s.begin(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	in := req.GetWebhook()
	if req.GetId() == "" {
		return nil, apierr.Invalid("id", "id is required")
	}
	if err := outputonly.Tenant("webhook.tenant", in.GetTenant(), tenant); err != nil {
		return nil, err
	}
	if err := s.Sender.guard.url(in.GetUrl()); err != nil {
		return nil, apierr.Invalid("webhook.url", "webhook.url: %s", err.Error())
	}
	for _, t := range in.GetEvents() {
		if !knownType(t) {
			return nil, apierr.Invalid("webhook.events", "webhook.events must be of %s", strings.Join(Types(), ", "))
		}
	}
	now := s.Clock.Now().UTC().Truncate(time.Microsecond)
	h, err := s.Store.Get(ctx, tenant, req.GetId())
	made := errors.Is(err, ErrNotFound)
	if err != nil && !made {
		return nil, storeError(err)
	}
	if made {
		h = Hook{Tenant: tenant, ID: req.GetId(), UID: s.IDs.New(), CreateTime: now}
	}
	h.URL, h.Events, h.Disabled, h.UpdateTime, h.Updater = in.GetUrl(), in.GetEvents(), in.GetDisabled(), now, c.Subject+"@"+c.Tenant
	shown := ""
	if made || req.GetRotateSecret() {
		secret, err := envelope.NewKey()
		if err == nil {
			err = s.give(&h, secret, made, req.GetOverlap(), now)
		}
		if err != nil {
			return nil, apierr.Wrap(apierr.Internal, err, "a secret cannot be made")
		}
		shown = standardwebhook.FormatSecret(secret[:])
	}
	audit.From(ctx).SetResource("webhook " + tenant + "/" + h.ID)
	if err := s.Store.Put(ctx, h); err != nil {
		return nil, storeError(err)
	}
	s.Log.InfoContext(ctx, "a webhook is set", slog.String(metrics.KeyTenant, tenant), slog.String("webhook", h.ID))
	return &edgev1.SetWebhookResponse{Webhook: s.message(&h), Secret: shown}, nil
}

// give has a webhook keep a secret, and one that it had before for a while.
func (s *Server) give(h *Hook, secret envelope.Key, made bool, overlap *durationpb.Duration, now time.Time) error {
	lasts := s.Sender.overlap
	if overlap != nil {
		lasts = overlap.AsDuration()
	}
	if made || lasts <= 0 {
		h.PreviousMaster, h.PreviousSecret, h.PreviousUntil = "", "", time.Time{}
		return h.seal(s.Sender.masters, secret)
	}
	return h.rotate(s.Sender.masters, secret, now.Add(lasts))
}

// DeleteWebhook implements edgev1.WebhookServiceServer.
func (s *Server) DeleteWebhook(ctx context.Context, req *edgev1.DeleteWebhookRequest) (*edgev1.DeleteWebhookResponse, error) {
	_, tenant, err := s.begin(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("webhook " + tenant + "/" + req.GetId())
	if err := s.Store.Delete(ctx, tenant, req.GetId()); err != nil {
		return nil, storeError(err)
	}
	return new(edgev1.DeleteWebhookResponse), nil
}

// TestWebhook implements edgev1.WebhookServiceServer.
func (s *Server) TestWebhook(ctx context.Context, req *edgev1.TestWebhookRequest) (*edgev1.TestWebhookResponse, error) {
	h, err := s.find(ctx, req.GetTenant(), req.GetId())
	if err != nil {
		return nil, err
	}
	body, id, err := testEvent(s.IDs.New(), h.Tenant, s.Clock.Now())
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "an event cannot be made")
	}
	r := s.Sender.Send(ctx, &h, id, body)
	return &edgev1.TestWebhookResponse{Delivered: r.OK(), Status: int32(r.Status), Problem: r.Problem}, nil
}

// ListWebhookDeliveries implements edgev1.WebhookServiceServer.
func (s *Server) ListWebhookDeliveries(ctx context.Context, req *edgev1.ListWebhookDeliveriesRequest) (*edgev1.ListWebhookDeliveriesResponse, error) {
	h, err := s.find(ctx, req.GetTenant(), req.GetId())
	if err != nil {
		return nil, err
	}
	most := int(req.GetPageSize())
	if most == 0 {
		most = defaultPageSize
	}
	list, err := s.Store.Deliveries(ctx, h.UID, req.GetState(), most)
	if err != nil {
		return nil, storeError(err)
	}
	out := new(edgev1.ListWebhookDeliveriesResponse)
	for _, d := range list {
		m := &edgev1.WebhookDelivery{
			Event: d.Event, Type: d.Type, State: d.State, Attempts: int32(d.Attempts), Status: int32(d.Status), Problem: d.Problem,
			CreateTime: timestamppb.New(d.CreateTime),
		}
		if d.State == Pending {
			m.NextTime = timestamppb.New(d.NextTime)
		}
		out.Deliveries = append(out.Deliveries, m)
	}
	return out, nil
}

// RedeliverWebhook implements edgev1.WebhookServiceServer.
func (s *Server) RedeliverWebhook(ctx context.Context, req *edgev1.RedeliverWebhookRequest) (*edgev1.RedeliverWebhookResponse, error) {
	h, err := s.find(ctx, req.GetTenant(), req.GetId())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("webhook " + h.Tenant + "/" + h.ID)
	if err := s.Store.Redeliver(ctx, h.UID, req.GetEvent(), s.Clock.Now()); err != nil {
		return nil, storeError(err)
	}
	return new(edgev1.RedeliverWebhookResponse), nil
}

func (s *Server) message(h *Hook) *edgev1.Webhook {
	out := &edgev1.Webhook{
		Id: h.ID, Tenant: h.Tenant, Url: h.URL, Events: h.Events, Disabled: h.Disabled,
		CreateTime: timestamppb.New(h.CreateTime), UpdateTime: timestamppb.New(h.UpdateTime), Updater: h.Updater,
	}
	if h.rotated(s.Clock.Now()) {
		out.PreviousSecretExpireTime = timestamppb.New(h.PreviousUntil)
	}
	return out
}

// storeError is what the caller is told.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no such webhook")
	case errors.Is(err, ErrNoEvent):
		return apierr.New(apierr.NotFound, "the webhook was not told of such an event")
	case errors.Is(err, ErrFull):
		return apierr.New(apierr.FailedPrecondition, "a tenant has at most %d webhooks", MaxPerTenant)
	default:
		if ours, is := errors.AsType[*apierr.Error](err); is {
			return ours
		}
		return apierr.Wrap(apierr.Unavailable, err, "the store does not answer").WithRetryAfter(storeRetry)
	}
}
