package auditcontent

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// The states of a content.
const (
	StateKept    = audit.ContentKept
	StateMissing = audit.ContentMissing
	StateNone    = "none"
	StateErased  = "erased"
	StateLost    = "lost"
	StateChanged = "changed"
)

// Trail is what the server needs of the trail; *audit.ContentReader is one.
type Trail interface {
	// Find returns a tenant's record, with everything recorded by now.
	Find(ctx context.Context, tenant, id string) (audit.Record, bool, error)
	// Content returns a record's content; audit.ErrNoContent when there is none.
	Content(ctx context.Context, record string) (audit.Sealed, error)
	// DeleteErased deletes the contents whose keys were destroyed.
	DeleteErased(ctx context.Context) (int64, error)
}

// Server is edge.v1.AuditContentService. Every method's permission was checked before
// it is called. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedAuditContentServiceServer
	keeper *Keeper // nil: there is no master key
	store  Store
	trail  Trail
	log    *slog.Logger
	now    func() time.Time
}

// NewServer returns a server; keeper is nil where there is no master key, and trail
// where the trail cannot be read.
func NewServer(keeper *Keeper, store Store, trail Trail, now func() time.Time, log *slog.Logger) *Server {
	return &Server{keeper: keeper, store: store, trail: trail, now: now, log: log}
}

// about returns the tenant that a request is about: whether the caller may name it was
// decided before.
func about(ctx context.Context, named string) (string, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return "", apierr.New(apierr.Internal, "the request was not authenticated")
	}
	if named != "" {
		return named, nil
	}
	return c.Tenant, nil
}

func away(err error) error {
	if _, known := errors.AsType[*apierr.Error](err); known || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return apierr.Wrap(apierr.Unavailable, err, "the store of contents does not answer").WithRetryAfter(time.Second)
}

func noMaster() error {
	return apierr.New(apierr.FailedPrecondition, "no content is kept: this gateway has no master key (audit.content.key)")
}

// GetAuditContentSettings implements edgev1.AuditContentServiceServer.
func (s *Server) GetAuditContentSettings(ctx context.Context, req *edgev1.GetAuditContentSettingsRequest) (*edgev1.GetAuditContentSettingsResponse, error) {
	tenant, err := about(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	t, err := s.store.Tenant(ctx, tenant)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, away(err)
	}
	t.Tenant = tenant
	return &edgev1.GetAuditContentSettingsResponse{Settings: s.settings(t)}, nil
}

func (s *Server) settings(t Tenant) *edgev1.AuditContentSettings {
	return &edgev1.AuditContentSettings{
		Tenant: t.Tenant, Enabled: t.Enabled, UpdateTime: timestamp(t.UpdateTime), MasterKeyId: t.Master, Available: s.keeper != nil,
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// UpdateAuditContentSettings implements edgev1.AuditContentServiceServer.
func (s *Server) UpdateAuditContentSettings(ctx context.Context, req *edgev1.UpdateAuditContentSettingsRequest) (*edgev1.UpdateAuditContentSettingsResponse, error) {
	tenant, err := about(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource(resource(tenant, map[bool]string{true: "enabled", false: "disabled"}[req.GetEnabled()]))
	if s.keeper == nil && req.GetEnabled() {
		return nil, noMaster()
	}
	for range 5 {
		t, err := s.store.Tenant(ctx, tenant)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, away(err)
		}
		if err != nil && !req.GetEnabled() {
			return &edgev1.UpdateAuditContentSettingsResponse{Settings: s.settings(Tenant{Tenant: tenant})}, nil
		}
		t.Tenant, t.Enabled, t.UpdateTime = tenant, req.GetEnabled(), s.now()
		if t.Enabled && t.KeyID == "" {
			if err := s.keeper.newTenantKey(&t); err != nil {
				return nil, err
			}
		} else if t.Enabled {
			if _, err := s.keeper.tenantKey(t); err != nil {
				return nil, cannotOpen(err)
			}
		}
		done, err := s.store.SetTenant(ctx, t)
		if err != nil {
			return nil, away(err)
		}
		if done {
			return &edgev1.UpdateAuditContentSettingsResponse{Settings: s.settings(t)}, s.follow(ctx)
		}
	}
	return nil, apierr.New(apierr.Unavailable, "the settings are being changed by others").WithRetryAfter(time.Second)
}

func resource(tenant, what string) string { return "audit-content " + tenant + " " + what }

// follow has this edge know of a change at once.
func (s *Server) follow(ctx context.Context) error {
	if s.keeper == nil {
		return nil
	}
	if err := s.keeper.keys.Poll(ctx); err != nil {
		return away(err)
	}
	return nil
}

func cannotOpen(err error) error {
	if errors.Is(err, envelope.ErrUnknownMaster) {
		return apierr.New(apierr.FailedPrecondition, "the tenant's key is wrapped by a master key that this gateway does not have (audit.content.previous_keys)")
	}
	return apierr.Wrap(apierr.Internal, err, "the key cannot be opened: it is damaged, or the master key of that name is another one")
}

// ReadAuditContent implements edgev1.AuditContentServiceServer.
func (s *Server) ReadAuditContent(ctx context.Context, req *edgev1.ReadAuditContentRequest) (*edgev1.ReadAuditContentResponse, error) {
	tenant, err := about(ctx, "")
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("audit-content " + req.GetId())
	if s.trail == nil {
		return nil, apierr.New(apierr.FailedPrecondition, "the audit trail is kept in files here, and no content beside them")
	}
	rec, ok, err := s.trail.Find(ctx, tenant, req.GetId())
	if err != nil {
		return nil, away(err)
	}
	if !ok {
		return nil, apierr.New(apierr.NotFound, "there is no such record").WithField("id")
	}
	out := &edgev1.ReadAuditContentResponse{Id: rec.ID, State: StateNone}
	if rec.Content.IsZero() {
		if rec.ContentMissing {
			out.State = StateMissing
		}
		return out, nil
	}
	sealed, err := s.trail.Content(ctx, rec.ID)
	switch {
	case errors.Is(err, audit.ErrNoContent):
		return s.gone(ctx, rec, out)
	case err != nil:
		return nil, away(err)
	case sha256.Sum256(sealed.Data) != rec.Content:
		out.State = StateChanged
		return out, nil
	}
	return s.read(ctx, rec, sealed.Data, out)
}

// gone says why a content is not there.
func (s *Server) gone(ctx context.Context, rec audit.Record, out *edgev1.ReadAuditContentResponse) (*edgev1.ReadAuditContentResponse, error) {
	at, err := s.store.Erased(ctx, rec.Tenant, rec.Subject, rec.Time)
	if err != nil {
		return nil, away(err)
	}
	out.State = StateLost
	if !at.IsZero() {
		out.State, out.EraseTime = StateErased, timestamp(at)
	}
	return out, nil
}

// read opens a content that is as it was recorded. It asks the store, and no cache,
// for the key.
func (s *Server) read(ctx context.Context, rec audit.Record, sealed []byte, out *edgev1.ReadAuditContentResponse) (*edgev1.ReadAuditContentResponse, error) {
	id, err := envelope.SealedBy(sealed)
	if err != nil {
		out.State = StateChanged // by whoever made the record
		return out, nil          //nolint:nilerr // the state says it
	}
	k, err := s.store.KeyByID(ctx, id.String())
	switch {
	case errors.Is(err, ErrNotFound):
		out.State = StateLost
		return out, nil
	case err != nil:
		return nil, away(err)
	case k.Wrapped == "":
		out.State, out.EraseTime = StateErased, timestamp(k.EraseTime)
		return out, nil
	case s.keeper == nil:
		return nil, noMaster()
	}
	t, err := s.store.Tenant(ctx, rec.Tenant)
	if err != nil {
		return nil, away(err)
	}
	key, err := s.keeper.open(t, k)
	if err != nil {
		return nil, cannotOpen(err)
	}
	content, err := key.Open(sealed, rec.ID, rec.Tenant, rec.Subject)
	if err != nil {
		return nil, cannotOpen(err)
	}
	if err := proto.Unmarshal(content, out); err != nil {
		return nil, apierr.New(apierr.Internal, "the content cannot be read")
	}
	out.Id, out.State = rec.ID, StateKept
	return out, nil
}

// DeleteSubjectContent implements edgev1.AuditContentServiceServer.
func (s *Server) DeleteSubjectContent(ctx context.Context, req *edgev1.DeleteSubjectContentRequest) (*edgev1.DeleteSubjectContentResponse, error) {
	tenant, err := about(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource(resource(tenant, req.GetSubject()))
	n, err := s.store.EraseSubject(ctx, tenant, req.GetSubject(), s.now())
	if err != nil {
		return nil, away(err)
	}
	return &edgev1.DeleteSubjectContentResponse{DestroyedKeys: int32(n)}, s.erased(ctx)
}

// DeleteTenantContent implements edgev1.AuditContentServiceServer.
func (s *Server) DeleteTenantContent(ctx context.Context, req *edgev1.DeleteTenantContentRequest) (*edgev1.DeleteTenantContentResponse, error) {
	tenant, err := about(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource(resource(tenant, "all"))
	n, err := s.store.EraseTenant(ctx, tenant, s.now())
	if err != nil {
		return nil, away(err)
	}
	return &edgev1.DeleteTenantContentResponse{DestroyedKeys: int32(n)}, s.erased(ctx)
}

// erased deletes what nobody can read any more.
func (s *Server) erased(ctx context.Context) error {
	if s.trail != nil {
		if _, err := s.trail.DeleteErased(ctx); err != nil {
			// The keys are gone, and retention tries again.
			s.log.WarnContext(ctx, "contents whose key was destroyed are not deleted yet", telemetry.Err(err))
		}
	}
	return s.follow(ctx)
}
