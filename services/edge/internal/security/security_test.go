package security

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// inference knows one worker.
type inference struct {
	inferencev1.InferenceServiceClient
}

func (inference) ListWorkers(_ context.Context, req *inferencev1.ListWorkersRequest, _ ...grpc.CallOption) (*inferencev1.ListWorkersResponse, error) {
	return &inferencev1.ListWorkersResponse{
		Workers: []*inferencev1.WorkerView{{Address: "10.0.0.1:1"}}, NextPageToken: "after " + req.GetPageToken(),
	}, nil
}

func (inference) LiftQuarantine(_ context.Context, req *inferencev1.LiftQuarantineRequest, _ ...grpc.CallOption) (*inferencev1.LiftQuarantineResponse, error) {
	return &inferencev1.LiftQuarantineResponse{Lifted: []*inferencev1.LiftedQuarantine{{Model: req.GetModel(), Error: req.GetWorkerId()}}}, nil
}

type edge struct {
	*Security
	admin    edgev1.AdminServiceClient
	accounts edgev1.ServiceAccountServiceClient
	dir      string
}

// open starts the security of one edge over the database at dsn.
func open(t *testing.T, dsn string, change func(*Config)) edge {
	t.Helper()
	cfg := DefaultConfig(dsn)
	cfg.Keys.Pepper = "all edges of a store share this pepper"
	if change != nil {
		change(&cfg)
	}
	e := edge{dir: t.TempDir()}
	var err error
	e.Security, err = New(t.Context(), cfg, Deps{
		DataDir: e.dir, Telemetry: telemetry.Discard(), Clock: clock.Real(), IDs: ids.UUIDv7(), Inference: inference{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, e.Components()...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	chain := append(grpcserver.Chain{grpcserver.RequestID(ids.UUIDv7()), grpcserver.Errors()}, e.Chain(grpcserver.Validate(validator))...)
	conn := inproc.New(chain, func(r grpc.ServiceRegistrar) {
		edgev1.RegisterAdminServiceServer(r, e.Admin)
		edgev1.RegisterServiceAccountServiceServer(r, e.Admin)
	})
	e.admin, e.accounts = edgev1.NewAdminServiceClient(conn), edgev1.NewServiceAccountServiceClient(conn)
	return e
}

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "edge.db")
}

func as(t *testing.T, key string) context.Context {
	t.Helper()
	ctx := clientaddr.NewContext(t.Context(), netip.MustParseAddr("192.0.2.7"))
	return metadata.AppendToOutgoingContext(ctx, authn.Header, "Bearer "+key)
}

// root returns the first key's text.
func (e edge) root(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(e.AdminKeyPath)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (e edge) create(t *testing.T, as context.Context, req *edgev1.CreateApiKeyRequest) *edgev1.CreateApiKeyResponse { //nolint:revive // the caller comes second
	t.Helper()
	req.Name = "test"
	resp, err := e.admin.CreateApiKey(as, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestFirstKeyAndWhatFollows(t *testing.T) { testLife(t, sqliteDSN(t)) }

// testLife is the life of keys on two edges over one database.
func testLife(t *testing.T, dsn string) {
	t.Helper()
	one, two := open(t, dsn, nil), open(t, dsn, nil)
	if one.AdminKeyPath != filepath.Join(one.dir, "admin.key") || two.AdminKeyPath != "" {
		t.Fatalf("the first key is at %q and %q", one.AdminKeyPath, two.AdminKeyPath)
	}
	root := as(t, one.root(t))

	made := one.create(t, root, &edgev1.CreateApiKeyRequest{Tenant: "acme", Subject: "ada", Roles: []string{"admin"}, Groups: []string{"ops"}})
	if k := made.GetApiKey(); k.GetTenant() != "acme" || k.GetSubject() != "ada" || k.GetCreateTime() == nil || k.GetExpireTime() != nil {
		t.Errorf("made %v", k)
	}
	ada := as(t, made.GetKey())

	// The other edge knows the key, and shows ada her tenant's keys only.
	list, err := two.admin.ListApiKeys(ada, &edgev1.ListApiKeysRequest{})
	if err != nil || len(list.GetApiKeys()) != 1 || list.GetApiKeys()[0].GetId() != made.GetApiKey().GetId() {
		t.Fatalf("ada sees %v, %v", list, err)
	}
	all, err := two.admin.ListApiKeys(root, &edgev1.ListApiKeysRequest{})
	if err != nil || len(all.GetApiKeys()) != 2 {
		t.Fatalf("the platform sees %v, %v", all, err)
	}

	// Revoked on one edge, the key ends on the other without being told.
	if _, err := one.admin.RevokeApiKey(root, &edgev1.RevokeApiKeyRequest{Id: made.GetApiKey().GetId()}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.admin.ListApiKeys(ada, &edgev1.ListApiKeysRequest{}); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Fatalf("where it was revoked: %v", err)
	}
	for {
		_, err := two.admin.ListApiKeys(ada, &edgev1.ListApiKeysRequest{})
		if apierr.ReasonOf(err) == apierr.Unauthenticated {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := clock.Sleep(t.Context(), clock.Real(), 20*time.Millisecond); err != nil { // the limit counts these too
			t.Fatal(err)
		}
	}
	again, err := one.admin.RevokeApiKey(root, &edgev1.RevokeApiKeyRequest{Id: made.GetApiKey().GetId()})
	if err != nil || again.GetApiKey().GetRevokeTime() == nil {
		t.Errorf("revoking again: %v, %v", again, err)
	}
}

func TestTenantsDoNotMeet(t *testing.T) {
	e := open(t, sqliteDSN(t), nil)
	root := as(t, e.root(t))
	acme := e.create(t, root, &edgev1.CreateApiKeyRequest{Tenant: "acme", Roles: []string{"admin"}})
	globex := e.create(t, root, &edgev1.CreateApiKeyRequest{Tenant: "globex", Roles: []string{"reader"}})
	boss := as(t, acme.GetKey())

	for name, c := range map[string]struct {
		call func() error
		want apierr.Reason
	}{
		"another tenant's key": {func() error {
			_, err := e.admin.GetApiKey(boss, &edgev1.GetApiKeyRequest{Id: globex.GetApiKey().GetId()})
			return err
		}, apierr.NotFound},
		"ending it": {func() error {
			_, err := e.admin.RevokeApiKey(boss, &edgev1.RevokeApiKeyRequest{Id: globex.GetApiKey().GetId()})
			return err
		}, apierr.NotFound},
		"a key that is not there": {func() error {
			_, err := e.admin.GetApiKey(boss, &edgev1.GetApiKeyRequest{Id: "nonsense\x00"})
			return err
		}, apierr.NotFound},
		"a key in another tenant": {func() error {
			_, err := e.admin.CreateApiKey(boss, &edgev1.CreateApiKeyRequest{Name: "x", Tenant: "globex", Roles: []string{"reader"}})
			return err
		}, apierr.PermissionDenied},
		"a role that no policy knows": {func() error {
			_, err := e.admin.CreateApiKey(boss, &edgev1.CreateApiKeyRequest{Name: "x", Roles: []string{"emperor"}})
			return err
		}, apierr.InvalidArgument},
		"the workers": {func() error {
			_, err := e.admin.ListWorkers(boss, &edgev1.ListWorkersRequest{})
			return err
		}, apierr.PermissionDenied},
		"what a worker holds in quarantine": {func() error {
			_, err := e.admin.LiftQuarantine(boss, &edgev1.LiftQuarantineRequest{WorkerId: "w", Model: "m"})
			return err
		}, apierr.PermissionDenied},
		"an end in the past": {func() error {
			_, err := e.admin.CreateApiKey(boss, &edgev1.CreateApiKeyRequest{Name: "x", Roles: []string{"reader"}, ExpireTime: timestamppb.New(clock.Real().Now())})
			return err
		}, apierr.InvalidArgument},
		"a name with control characters": {func() error {
			_, err := e.admin.CreateApiKey(boss, &edgev1.CreateApiKeyRequest{Name: "x\x00", Roles: []string{"reader"}})
			return err
		}, apierr.InvalidArgument},
		"a page token of another kind": {func() error {
			_, err := e.admin.ListAuditRecords(boss, &edgev1.ListAuditRecordsRequest{PageToken: "bm9uc2Vuc2U"})
			return err
		}, apierr.InvalidArgument},
	} {
		if err := c.call(); apierr.ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	own := e.create(t, boss, &edgev1.CreateApiKeyRequest{Roles: []string{"developer", "developer", "reader"}})
	if k := own.GetApiKey(); k.GetTenant() != "acme" || len(k.GetRoles()) != 2 || k.GetSubject() != "key-"+k.GetId() {
		t.Errorf("an own key: %v", k)
	}
	got, err := e.admin.GetApiKey(boss, &edgev1.GetApiKeyRequest{Id: own.GetApiKey().GetId()})
	if err != nil || got.GetApiKey().GetName() != "test" {
		t.Errorf("%v, %v", got, err)
	}
	workers, err := e.admin.ListWorkers(root, &edgev1.ListWorkersRequest{PageToken: "x"})
	if err != nil || len(workers.GetWorkers()) != 1 || workers.GetNextPageToken() != "after x" {
		t.Errorf("the workers: %v, %v", workers, err)
	}
	lifted, err := e.admin.LiftQuarantine(root, &edgev1.LiftQuarantineRequest{WorkerId: "w", Model: "m@v2"})
	if err != nil || len(lifted.GetLifted()) != 1 || lifted.GetLifted()[0].GetModel() != "m@v2" || lifted.GetLifted()[0].GetError() != "w" {
		t.Errorf("lifted: %v, %v", lifted, err)
	}
	trail, err := e.admin.ListAuditRecords(root, &edgev1.ListAuditRecordsRequest{})
	if err != nil || len(trail.GetRecords()) == 0 || !strings.Contains(trail.GetRecords()[0].GetMethod(), "LiftQuarantine") || !strings.Contains(trail.GetRecords()[0].GetResource(), "w") {
		t.Errorf("the trail: %v, %v", trail, err)
	}
}

func TestAuditIsListed(t *testing.T) {
	e := open(t, sqliteDSN(t), nil)
	rootKey := e.root(t)
	root := as(t, rootKey)
	acme := e.create(t, root, &edgev1.CreateApiKeyRequest{Tenant: "acme", Roles: []string{"admin"}})
	boss := as(t, acme.GetKey())
	withID := metadata.AppendToOutgoingContext(boss, "x-request-id", "find-me")
	if _, err := e.admin.ListWorkers(withID, &edgev1.ListWorkersRequest{}); err == nil {
		t.Fatal("not refused")
	}
	for i := range 3 {
		e.create(t, boss, &edgev1.CreateApiKeyRequest{Roles: []string{"reader"}, Subject: strings.Repeat("s", i+1)})
	}

	got, err := e.admin.ListAuditRecords(boss, &edgev1.ListAuditRecordsRequest{RequestId: "find-me"})
	if err != nil || len(got.GetRecords()) != 1 {
		t.Fatalf("by request: %v, %v", got, err)
	}
	r := got.GetRecords()[0]
	if r.GetDecision() != "refused" || r.GetErrorReason() != "PERMISSION_DENIED" || r.GetTenant() != "acme" ||
		r.GetKeyId() != acme.GetApiKey().GetId() || r.GetAddress() != "192.0.2.7" || r.GetResource() != "worker" || r.GetDurationMs() <= 0 {
		t.Errorf("recorded as %v", r)
	}

	var pages, records int
	token := ""
	for {
		page, err := e.admin.ListAuditRecords(boss, &edgev1.ListAuditRecordsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range page.GetRecords() {
			records++
			if r.GetTenant() != "acme" {
				t.Errorf("another tenant's record is shown: %v", r)
			}
			if strings.Contains(r.String(), acme.GetKey()) || strings.Contains(r.String(), rootKey) {
				t.Error("a record holds a key")
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if records < 5 || pages < 3 {
		t.Errorf("%d records on %d pages", records, pages)
	}
}

func TestAuditInAFileCannotBeListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	e := open(t, sqliteDSN(t), func(c *Config) { c.Audit.Sink, c.Audit.File = "file", path })
	_, err := e.admin.ListAuditRecords(as(t, e.root(t)), &edgev1.ListAuditRecordsRequest{})
	if apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Fatal(err)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	for name, change := range map[string]func(*Config, *Deps){
		"the store":       func(c *Config, _ *Deps) { c.Store.DSN = "sqlite:///no/such/dir/edge.db" },
		"the policy":      func(c *Config, _ *Deps) { c.Authz.PolicyFile = "/no/such/policy.csv" },
		"the audit file":  func(c *Config, _ *Deps) { c.Audit.Sink, c.Audit.File = "file", "/no/such/dir/audit.jsonl" },
		"the key's place": func(_ *Config, d *Deps) { d.DataDir = "/dev/null/x" },
	} {
		cfg := DefaultConfig(sqliteDSN(t))
		d := Deps{DataDir: t.TempDir(), Telemetry: telemetry.Discard(), Clock: clock.Real(), IDs: ids.UUIDv7()}
		change(&cfg, &d)
		if _, err := New(t.Context(), cfg, d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Where the journal outlives a loss of power, so does what it is cleared of.
func TestADurableJournalHasADurableStore(t *testing.T) {
	for sync, want := range map[bool]int{false: 1, true: 2} { // normal and full
		e := open(t, sqliteDSN(t), func(c *Config) {
			c.Audit.Journal.Sync = sync
			c.Complete()
		})
		var got int
		if err := e.DB.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != want {
			t.Errorf("with sync %v the store's is %d, %v", sync, got, err)
		}
	}
}
