package registry_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/signing"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// asTenant returns a context with which calls are made for a caller of the tenant.
func asTenant(t *testing.T, tenant string) context.Context {
	t.Helper()
	raw, err := identity.Plain().Encode(identity.Caller{Tenant: tenant, Subject: "ana"})
	fatal(t, err)
	return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, string(raw))
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	r := start(t, nil)
	platform, acme, beta := asTenant(t, "default"), asTenant(t, "acme"), asTenant(t, "beta")
	for name, tenant := range map[string]string{"shared": "", "hidden": "acme"} {
		m, err := r.CreateModel(platform, &registryv1.CreateModelRequest{Name: name, Tenant: tenant, Card: "# C", Licence: "MIT"})
		fatal(t, err)
		if m.GetModel().GetTenant() != tenant || m.GetModel().GetOwner() != "ana" {
			t.Errorf("made %v", m)
		}
		_, err = r.CreateVersion(platform, &registryv1.CreateVersionRequest{Model: name, Spec: spec("1")})
		fatal(t, err)
	}
	list := func(ctx context.Context) string {
		t.Helper()
		resp, err := r.ListModels(ctx, &registryv1.ListModelsRequest{Filter: `licence = "MIT"`, OrderBy: "name desc"})
		fatal(t, err)
		var names []string
		for _, m := range resp.GetModels() {
			names = append(names, m.GetName())
		}
		return strings.Join(names, " ")
	}
	if got := []string{list(platform), list(acme), list(beta)}; !slices.Equal(got, []string{"shared hidden", "shared hidden", "shared"}) {
		t.Errorf("listed %q", got)
	}
	_, err := r.GetVersion(acme, &registryv1.GetVersionRequest{Model: "hidden", Version: "1"})
	fatal(t, err)
	sig := &registryv1.Signature{KeyId: strings.Repeat("0", 16), Signature: make([]byte, 64)}
	calls := map[string]func(ctx context.Context, model string) error{
		"GetModel": func(ctx context.Context, m string) error {
			_, err := r.GetModel(ctx, &registryv1.GetModelRequest{Model: m})
			return err
		},
		"UpdateModel": func(ctx context.Context, m string) error {
			_, err := r.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: m})
			return err
		},
		"DeleteModel": func(ctx context.Context, m string) error {
			_, err := r.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: m, Purge: true})
			return err
		},
		"UndeleteModel": func(ctx context.Context, m string) error {
			_, err := r.UndeleteModel(ctx, &registryv1.UndeleteModelRequest{Model: m})
			return err
		},
		"ListVersions": func(ctx context.Context, m string) error {
			_, err := r.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: m})
			return err
		},
		"CreateVersion": func(ctx context.Context, m string) error {
			_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: m, Spec: spec("1")})
			return err
		},
		"DeleteVersion": func(ctx context.Context, m string) error {
			_, err := r.DeleteVersion(ctx, &registryv1.DeleteVersionRequest{Model: m, Version: "1"})
			return err
		},
		"SignVersion": func(ctx context.Context, m string) error {
			_, err := r.SignVersion(ctx, &registryv1.SignVersionRequest{Model: m, Version: "1", Signature: sig})
			return err
		},
		"SetAlias": func(ctx context.Context, m string) error {
			_, err := r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: m, Alias: "a", Version: 1})
			return err
		},
		"GetSplit": func(ctx context.Context, m string) error {
			_, err := r.GetSplit(ctx, &registryv1.GetSplitRequest{Model: m})
			return err
		},
		"ListAliasHistory": func(ctx context.Context, m string) error {
			_, err := r.ListAliasHistory(ctx, &registryv1.ListAliasHistoryRequest{Model: m, Alias: "a"})
			return err
		},
		"ListSplitHistory": func(ctx context.Context, m string) error {
			_, err := r.ListSplitHistory(ctx, &registryv1.ListSplitHistoryRequest{Model: m})
			return err
		},
		"ListChanges": func(ctx context.Context, m string) error {
			_, err := r.ListChanges(ctx, &registryv1.ListChangesRequest{Model: m})
			return err
		},
		"ResolveVersion": func(ctx context.Context, m string) error {
			_, err := r.ResolveVersion(ctx, &registryv1.ResolveVersionRequest{Model: m, Spec: spec("1")})
			return err
		},
	}
	for name, call := range calls {
		hidden, absent := call(beta, "hidden"), call(beta, "absent")
		wantError(t, hidden, apierr.ModelNotFound, "model")
		if a, b := apierr.From(hidden).Message, apierr.From(absent).Message; strings.ReplaceAll(a, "hidden", "absent") != b {
			t.Errorf("%s tells them apart: %q, %q", name, a, b)
		}
	}
	_, err = r.ListChanges(beta, &registryv1.ListChangesRequest{})
	wantError(t, err, apierr.InvalidArgument, "model")
	// A model that is gone for good has a history yet, and is nobody's any more.
	_, err = r.SetAlias(platform, &registryv1.SetAliasRequest{Model: "hidden", Alias: "a", Version: 1, Reason: "secret"})
	fatal(t, err)
	_, err = r.DeleteAlias(platform, &registryv1.DeleteAliasRequest{Model: "hidden", Alias: "a", Etag: "*"})
	fatal(t, err)
	_, err = r.DeleteModel(platform, &registryv1.DeleteModelRequest{Model: "hidden", Purge: true})
	fatal(t, err)
	for _, name := range []string{"ListAliasHistory", "ListChanges"} {
		fatal(t, calls[name](platform, "hidden"))
		wantError(t, calls[name](beta, "hidden"), apierr.ModelNotFound, "model")
	}
	// What a tenant makes is its own, and cannot show which names others have.
	_, err = r.CreateModel(beta, &registryv1.CreateModelRequest{Name: "hidden"})
	wantError(t, err, apierr.InvalidArgument, "name")
	_, err = r.CreateModel(beta, &registryv1.CreateModelRequest{Name: "acme.x", Tenant: "acme"})
	wantError(t, err, apierr.PermissionDenied, "tenant")
	m, err := r.CreateModel(beta, &registryv1.CreateModelRequest{Name: "beta.x"})
	fatal(t, err)
	if m.GetModel().GetTenant() != "beta" {
		t.Errorf("made %v", m)
	}
	// Before it makes one, it may ask what a version of it would be.
	_, err = r.ResolveVersion(beta, &registryv1.ResolveVersionRequest{Model: "beta.y", Spec: spec("1")})
	fatal(t, err)
	shared := ""
	_, err = r.UpdateModel(beta, &registryv1.UpdateModelRequest{Model: "beta.x", Tenant: &shared})
	wantError(t, err, apierr.PermissionDenied, "tenant")
}

// The step that hides models knows them by a field: each method but these must
// have it.
func TestEveryMethodNamesItsModel(t *testing.T) {
	exempt := []protoreflect.Name{
		"CreateModel", "ListModels",
		"Watch", "ReportOutcomes", // for services
		"CreateWebhook", "GetWebhook", "ListWebhooks", "UpdateWebhook", "DeleteWebhook", "ListDeliveries", "Redeliver", // for the platform's administrators
		// Prompts belong to no tenant.
		"CreatePromptVersion", "GetPrompt", "GetPromptVersion", "ListPromptVersions", "ListPrompts", "SetPromptAlias", "DeletePromptAlias",
		"ListPromptAliasHistory", "RollbackPromptAlias", "RenderPrompt",
		"ExportModels", "ImportModels", "ExportArchive", "ImportArchive", "InspectSource", // the platform's, or about no model
	}
	methods := registryv1.File_poterne_registry_v1_registry_proto.Services().ByName("RegistryService").Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		if f := m.Input().Fields().ByName("model"); (f == nil || f.Kind() != protoreflect.StringKind) && !slices.Contains(exempt, m.Name()) {
			t.Errorf("%s has no field model: say in it who may see what", m.Name())
		}
	}
}

func TestMetadataThatIsRefused(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m", Task: commonv1.Task_TASK_CHAT})
	fatal(t, err)
	version := func(change func(*registryv1.CreateVersionRequest)) func() error {
		return func() error {
			req := &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")}
			change(req)
			_, err := r.CreateVersion(ctx, req)
			return err
		}
	}
	tests := map[string]struct {
		call  func() error
		field string
	}{
		"a long card": {func() error {
			_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "n", Card: strings.Repeat("x", 65537)})
			return err
		}, "card"},
		"a NUL in a card": {func() error {
			card := "\x00"
			_, err := r.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: "m", Card: &card})
			return err
		}, "card"},
		"a filter": {func() error {
			_, err := r.ListModels(ctx, &registryv1.ListModelsRequest{Filter: "name = ("})
			return err
		}, "filter"},
		"a field that is none": {func() error {
			_, err := r.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: "m", Filter: "size > 3"})
			return err
		}, "filter"},
		"an order": {func() error {
			_, err := r.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: "m", OrderBy: "number sideways"})
			return err
		}, "order_by"},
		"credentials of a run": {version(func(r *registryv1.CreateVersionRequest) {
			r.Lineage = &registryv1.Lineage{TrainingRunUri: "https://ana:hunter2@runs.example/1"}
		}), "lineage.training_run_uri"},
		"a schema that is no JSON": {version(func(r *registryv1.CreateVersionRequest) {
			r.IoSchema = &registryv1.IOSchema{InputJsonSchema: "{"}
		}), "io_schema.input_json_schema"},
		"a metric's name": {version(func(r *registryv1.CreateVersionRequest) { r.Metrics = map[string]float64{"": 1} }), `metrics[""]`},
		"another task":    {version(func(r *registryv1.CreateVersionRequest) { r.Spec.Task = commonv1.Task_TASK_EMBEDDING }), "spec.task"},
		"an adapter elsewhere": {version(func(r *registryv1.CreateVersionRequest) {
			r.Spec.Adapters = []*commonv1.Adapter{{Artifacts: []*commonv1.Artifact{{Uri: "lora.gguf", Sha256: strings.Repeat("0", 64)}}}}
		}), "spec.adapters[0].artifacts[0].uri"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { wantError(t, tt.call(), apierr.InvalidArgument, tt.field) })
	}
}

func TestOnlySignedVersionsServe(t *testing.T) {
	private, public, err := signing.Generate()
	fatal(t, err)
	key, err := signing.ParsePrivate(private)
	fatal(t, err)
	r, ctx := start(t, func(c *registry.Config) {
		c.Signatures = signing.Config{Required: true, TrustedKeys: []string{public}}
	}), t.Context()
	_, err = r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	v, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	alias := func() error {
		_, err := r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: 1})
		return err
	}
	wantError(t, alias(), apierr.FailedPrecondition, "version")
	sign := func(digest string) error {
		_, err := r.SignVersion(ctx, &registryv1.SignVersionRequest{Model: "m", Version: "v1", Signature: &registryv1.Signature{
			KeyId: signing.KeyID(signing.Public(key)), Signature: signing.Sign(key, digest),
		}})
		return err
	}
	wantError(t, sign("sha256:other"), apierr.InvalidArgument, "signature")
	fatal(t, sign(v.GetVersion().GetDigest()))
	fatal(t, alias())
}

func TestPageTokensBelongToTheirFilter(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	for _, name := range []string{"a", "b", "c"} {
		_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: name})
		fatal(t, err)
	}
	page, err := r.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: 1, OrderBy: "create_time desc"})
	fatal(t, err)
	next, err := r.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: 1, OrderBy: "create_time desc", PageToken: page.GetNextPageToken()})
	fatal(t, err)
	if len(next.GetModels()) != 1 || next.GetModels()[0].GetName() != "b" {
		t.Errorf("went on with %v", next)
	}
	_, err = r.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: 1, PageToken: page.GetNextPageToken()})
	wantError(t, err, apierr.InvalidArgument, "page_token")
}

// What was deleted goes for good by itself.
func TestDeletedModelsArePurged(t *testing.T) {
	r, ctx := start(t, func(c *registry.Config) { c.Deleted.Keep, c.Deleted.PurgeInterval = time.Nanosecond, time.Second }), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	s := watch(t, r, 0)
	next(t, s)
	_, err = r.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: "m"})
	fatal(t, err)
	for removed := 0; removed < 2; { // hidden, and then gone
		if next(t, s).GetRemoved() == "m" {
			removed++
		}
	}
	_, err = r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
}
