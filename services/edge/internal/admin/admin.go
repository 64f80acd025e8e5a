// Package admin is the edge's AdminService, ServiceAccountService and AuditService: keys and service
// accounts, the audit trail, and what the
// workers do. Every method's permission was checked before it is called; what
// depends on whose key or record it is, is checked here. Start reading at
// Server.
package admin

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

const defaultPageSize = 100

// Keys is what the server needs of the keys; *apikey.Manager is one.
type Keys interface {
	Create(ctx context.Context, w apikey.Wanted) (apikey.Record, apikey.Key, error)
	Get(ctx context.Context, id string) (apikey.Record, error)
	List(ctx context.Context, f apikey.Filter) ([]apikey.Record, error)
	Revoke(ctx context.Context, id string) (apikey.Record, error)
	Update(ctx context.Context, id string, edit func(r *apikey.Record) error) (apikey.Record, error)
	Rotate(ctx context.Context, id string, overlap time.Duration, allowed func(apikey.Record) error) (apikey.Record, apikey.Key, error)
	Check(ctx context.Context, texts []string) ([]apikey.Leak, error)
}

// Accounts is what the server needs of the service accounts; *apikey.Manager is
// one.
type Accounts interface {
	CreateAccount(ctx context.Context, a apikey.Account) (apikey.Account, error)
	GetAccount(ctx context.Context, id apikey.AccountID) (apikey.Account, error)
	ListAccounts(ctx context.Context, f apikey.AccountFilter) ([]apikey.Account, error)
	UpdateAccount(ctx context.Context, id apikey.AccountID, edit func(a *apikey.Account) error) (apikey.Account, error)
	DeleteAccount(ctx context.Context, id apikey.AccountID, force bool) error
}

// Trail takes records of what one request finds more than once.
type Trail interface {
	Admit(ctx context.Context) error
	Append(ctx context.Context, rec audit.Record) error
}

// Records is what the server needs of the audit trail.
type Records interface {
	// List returns a page, newest first, with everything recorded by now.
	List(ctx context.Context, q audit.Query) ([]audit.Record, error)
}

// Server is the AdminService and the ServiceAccountService. It is safe for
// concurrent use.
type Server struct {
	edgev1.UnimplementedAdminServiceServer
	edgev1.UnimplementedServiceAccountServiceServer
	edgev1.UnimplementedAuditServiceServer
	keys      Keys
	accounts  Accounts
	trail     Trail
	ids       ids.Source
	actions   grant.Actions
	records   Records
	authz     *authz.Authorizer
	inference inferencev1.InferenceServiceClient
	variants  Variants
	proof     Proof
	// tenantProofs: tenants get proofs of their records.
	tenantProofs bool
	clock        clock.Clock
	log          *slog.Logger
}

// Deps is what a Server works with. All of it is needed but Records and Proof, which are nil
// when the trail cannot be read.
type Deps struct {
	Keys       Keys
	Accounts   Accounts
	Trail      Trail
	IDs        ids.Source
	Records    Records
	Authorizer *authz.Authorizer
	Inference  inferencev1.InferenceServiceClient
	Variants   Variants
	// Proof proves the trail; nil when it cannot be read.
	Proof Proof
	// TenantProofs lets tenants have proofs of their own records, whose numbers tell
	// how many all have.
	TenantProofs bool
	Clock        clock.Clock
	Log          *slog.Logger
}

// New returns a server.
func New(d Deps) *Server {
	return &Server{
		keys: d.Keys, accounts: d.Accounts, trail: d.Trail, ids: d.IDs, actions: authz.Actions(), records: d.Records, authz: d.Authorizer, inference: d.Inference, variants: d.Variants, proof: d.Proof, tenantProofs: d.TenantProofs, clock: d.Clock, log: d.Log,
	}
}

// caller returns who asks; the steps before have put it there.
func caller(ctx context.Context) (identity.Caller, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return c, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	return c, nil
}

// visibleTenant returns the only tenant whose resources the caller may list, or
// "" when that is every tenant.
func (s *Server) visibleTenant(ctx context.Context, c identity.Caller, typ string) string {
	// No tenant has this name, so only a rule for any tenant can match.
	if s.authz.Allowed(ctx, c, "list", authz.Resource{Type: typ, Tenant: "*"}) {
		return ""
	}
	return c.Tenant
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
