package authz

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/contract"
)

func open(tb testing.TB, extra string) *Authorizer {
	tb.Helper()
	p, err := ParsePolicy(strings.NewReader(defaultPolicy + "\n" + extra))
	if err != nil {
		tb.Fatal(err)
	}
	a, err := New(DefaultConfig(), p, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func callerWith(tenant string, roles ...string) identity.Caller {
	c := identity.Caller{Tenant: tenant, Subject: "ada", Roles: roles}
	c.Principals = []string{"user:ada", "tenant:" + tenant, identity.Public}
	for _, r := range roles {
		c.Principals = append(c.Principals, "role:"+r)
	}
	return c
}

// served is every method of the contracts that the edge serves.
func served(t *testing.T) []protoreflect.MethodDescriptor {
	t.Helper()
	var out []protoreflect.MethodDescriptor
	for _, f := range append(contract.Files(), edgev1.File_poterne_edge_v1_mlflow_proto, oip.File_inference_open_inference_proto) {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				out = append(out, methods.Get(j))
			}
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d methods were found", len(out))
	}
	return out
}

func fullName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

func TestTableHasEveryMethod(t *testing.T) {
	table := Table()
	for _, m := range served(t) {
		name := fullName(m)
		entry, ok := table[name]
		if !ok {
			t.Errorf("%s is missing in the table", name)
			continue
		}
		if entry.Access == Checked && (entry.Type == "" || entry.Action == "") {
			t.Errorf("%s needs no permission", name)
		}
		// Only the probes are.
		if entry.Access == Public && !strings.HasSuffix(name, "/ServerLive") && !strings.HasSuffix(name, "/ServerReady") {
			t.Errorf("%s is open to everybody", name)
		}
	}
}

// TestTableReadsRequests fills every text field of every request and sees
// whether the table finds the resource's name in it.
func TestTableReadsRequests(t *testing.T) {
	table := Table()
	for _, m := range served(t) {
		entry := table[fullName(m)]
		typ, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		if err != nil {
			t.Fatal(err)
		}
		req := typ.New()
		fields := m.Input().Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); f.Kind() == protoreflect.StringKind && f.Cardinality() != protoreflect.Repeated {
				req.Set(f, protoreflect.ValueOfString("x-"+string(f.Name())))
			}
		}
		if entry.ID != nil {
			if id := entry.ID(req.Interface()); !strings.Contains(id, "x-") || strings.HasSuffix(id, "/") {
				t.Errorf("%s: the resource's id is %q", fullName(m), id)
			}
		}
		if entry.Tenant != nil && entry.Tenant(req.Interface()) != "x-tenant" {
			t.Errorf("%s: the tenant is not found", fullName(m))
		}
		// Nor may a message of another kind bring it down.
		other := dynamicpb.NewMessage(m.Output())
		if entry.ID != nil {
			entry.ID(other)
		}
	}
}

// TestDefaultPolicy is the whole matrix: each method, and which roles may call
// it, a tenant's own and the platform's.
func TestDefaultPolicy(t *testing.T) {
	const (
		nobody    = ""
		platform  = "platform admin"
		approver  = "platform admin, platform approver"
		admins    = "platform admin, admin"
		developer = "platform admin, admin, developer"
		keepers   = developer + ", platform approver"
		everyone  = "platform admin, admin, developer, reader"
		anybody   = everyone + ", platform approver, another tenant's approver, no role, a role nobody knows"
	)
	want := map[string]string{
		"OpenAIService/CreateChatCompletion":         everyone,
		"OpenAIService/StreamChatCompletion":         everyone,
		"OpenAIService/CreateCompletion":             everyone,
		"OpenAIService/StreamCompletion":             everyone,
		"OpenAIService/CreateEmbedding":              everyone,
		"OpenAIService/Rerank":                       everyone,
		"OpenAIService/CountTokens":                  everyone,
		"OpenAIService/ListModels":                   everyone,
		"OpenAIService/GetModel":                     everyone,
		"MessagesService/CreateMessage":              everyone,
		"MessagesService/StreamMessage":              everyone,
		"MessagesService/CountMessageTokens":         everyone,
		"ModerationService/CreateModeration":         everyone,
		"FileService/UploadFile":                     everyone,
		"FileService/ListFiles":                      everyone,
		"FileService/GetFile":                        everyone,
		"FileService/GetFileContent":                 everyone,
		"FileService/DeleteFile":                     everyone,
		"BatchService/CreateBatch":                   everyone,
		"BatchService/ListBatches":                   everyone,
		"BatchService/GetBatch":                      everyone,
		"BatchService/CancelBatch":                   everyone,
		"ResponsesService/CreateResponse":            everyone,
		"ResponsesService/StreamResponse":            everyone,
		"ResponsesService/GetResponse":               everyone,
		"ResponsesService/DeleteResponse":            everyone,
		"ResponsesService/ListResponseInputItems":    everyone,
		"ResponsesService/CancelResponse":            everyone,
		"ResponsesService/CountResponseInputTokens":  everyone,
		"McpService/ListMcpTools":                    everyone,
		"GRPCInferenceService/ServerLive":            anybody,
		"GRPCInferenceService/ServerReady":           anybody,
		"GRPCInferenceService/ServerMetadata":        everyone,
		"GRPCInferenceService/ModelReady":            everyone,
		"GRPCInferenceService/ModelMetadata":         everyone,
		"GRPCInferenceService/ModelInfer":            everyone,
		"GRPCInferenceService/ModelStreamInfer":      everyone,
		"GRPCInferenceService/RepositoryIndex":       everyone,
		"GRPCInferenceService/RepositoryModelLoad":   nobody,
		"GRPCInferenceService/RepositoryModelUnload": nobody,
		"AdminService/CreateApiKey":                  admins,
		"AdminService/GetApiKey":                     admins,
		"AdminService/ListApiKeys":                   admins,
		"AdminService/RevokeApiKey":                  admins,
		"AdminService/ListAuditRecords":              admins,
		"AuditService/VerifyAudit":                   platform, "AuditService/ListAuditKeys": platform, "AuditService/ExportAudit": admins,
		"AuditService/ProveAuditConsistency": admins,
		// Reading finds the own tenant's records only.
		"AuditContentService/ReadAuditContent": admins, "AuditContentService/GetAuditContentSettings": admins, "AuditContentService/UpdateAuditContentSettings": admins,
		"AuditContentService/DeleteSubjectContent": admins, "AuditContentService/DeleteTenantContent": admins,
		"AdminService/ListWorkers":    platform,
		"AdminService/QuantizeModel":  platform,
		"AdminService/LiftQuarantine": platform,
		"BanService/CreateBan":        platform,
		"BanService/ListBans":         platform,
		"BanService/LiftBan":          platform,
		"CacheService/PurgeCache":     admins,
		"CacheService/GetCacheStats":  admins,

		"SearchService/CreateCollection":            developer,
		"SearchService/GetCollection":               everyone,
		"SearchService/ListCollections":             everyone,
		"SearchService/DeleteCollection":            developer,
		"SearchService/BatchUpsertDocuments":        developer,
		"SearchService/ImportDocuments":             developer,
		"SearchService/BackupCollection":            admins,
		"SearchService/RestoreCollection":           admins,
		"SearchService/GetDocument":                 everyone,
		"SearchService/ListDocuments":               everyone,
		"SearchService/DeleteDocument":              developer,
		"SearchService/Search":                      everyone,
		"SearchService/CreateEmbeddingGeneration":   admins,
		"SearchService/GetEmbeddingGeneration":      admins,
		"SearchService/ListEmbeddingGenerations":    admins,
		"SearchService/ServeEmbeddingGeneration":    admins,
		"SearchService/RollbackEmbeddingGeneration": admins,
		"SearchService/DeleteEmbeddingGeneration":   admins,
	}
	maps.Copy(want, registryMatrix(nobody, platform, approver, keepers))
	maps.Copy(want, experimentMethods(platform))
	maps.Copy(want, evidenceMatrix(nobody, platform, everyone))
	maps.Copy(want, policyMatrix(admins))
	maps.Copy(want, limitMatrix(admins))
	maps.Copy(want, requestMatrix())
	maps.Copy(want, routeMatrix(platform))
	maps.Copy(want, sessionsMatrix())
	maps.Copy(want, conversationsMatrix())
	maps.Copy(want, usageMatrix(admins, platform))
	maps.Copy(want, webhookMatrix(admins))
	maps.Copy(want, rolloutMatrix(platform))
	maps.Copy(want, keyMatrix(admins))
	artifactCallers(want, platform, nobody)
	maps.Copy(want, movingCallers(keepers, platform))
	callers := []struct {
		name   string
		caller identity.Caller
	}{
		{"platform admin", callerWith("default", "admin")},
		{"admin", callerWith("acme", "admin")},
		{"platform approver", callerWith("default", "approver")},
		{"another tenant's approver", callerWith("acme", "approver")},
		{"developer", callerWith("acme", "developer")},
		{"reader", callerWith("acme", "reader")},
		{"no role", callerWith("acme")},
		{"a role nobody knows", callerWith("acme", "emperor")},
	}
	a, table := open(t, ""), Table()
	for _, m := range served(t) {
		short := string(m.Parent().Name()) + "/" + string(m.Name())
		allowed, ok := want[short]
		if !ok {
			t.Errorf("the matrix does not say who may call %s", short)
			continue
		}
		for _, c := range callers {
			expect := slices.Contains(strings.Split(allowed, ", "), c.name)
			err := a.Check(t.Context(), table[fullName(m)], c.caller, dynamicpb.NewMessage(m.Input()))
			if got := err == nil; got != expect {
				t.Errorf("%s by %s: allowed is %v, want %v", short, c.name, got, expect)
			}
			if err != nil && apierr.ReasonOf(err) != apierr.PermissionDenied {
				t.Errorf("%s by %s: %v", short, c.name, err)
			}
		}
	}
}

func TestMissingMethodIsRefused(t *testing.T) {
	err := open(t, "").Check(t.Context(), Table()["/no/such"], callerWith("default", "admin"), nil)
	if apierr.ReasonOf(err) != apierr.PermissionDenied {
		t.Fatal(err)
	}
}

func TestTenants(t *testing.T) {
	a := open(t, "")
	create := Table()[edgev1.AdminService_CreateApiKey_FullMethodName]
	for _, c := range []struct {
		name   string
		caller identity.Caller
		tenant string
		want   bool
	}{
		{"an own key", callerWith("acme", "admin"), "", true},
		{"an own key by name", callerWith("acme", "admin"), "acme", true},
		{"another tenant's", callerWith("acme", "admin"), "globex", false},
		{"the platform's", callerWith("acme", "admin"), "default", false},
		{"any tenant's by the platform", callerWith("default", "admin"), "acme", true},
		{"any tenant's by the platform's developer", callerWith("default", "developer"), "acme", false},
		{"one that is named like a pattern", callerWith("acme", "admin"), "*", false},
	} {
		err := a.Check(t.Context(), create, c.caller, &edgev1.CreateApiKeyRequest{Tenant: c.tenant})
		if got := err == nil; got != c.want {
			t.Errorf("%s: allowed is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDenyOverrides(t *testing.T) {
	a := open(t, `
p, group:interns, own, model, big*, chat, true, deny
p, public, own, collection, payroll, *, resource_tenant == 'acme' && subject != 'boss', deny
g, user:grace, role:developer, acme
`)
	intern := callerWith("acme", "admin")
	intern.Principals = append(intern.Principals, "group:interns")
	boss := callerWith("acme", "reader")
	boss.Subject = "boss"
	grace := identity.Caller{Tenant: "acme", Subject: "grace", Principals: []string{"user:grace"}}
	graceElsewhere := identity.Caller{Tenant: "globex", Subject: "grace", Principals: []string{"user:grace"}}
	for _, c := range []struct {
		name   string
		caller identity.Caller
		action string
		res    Resource
		want   bool
	}{
		{"what is denied by group", intern, "chat", Resource{"model", "big-7b", "acme"}, false},
		{"another model", intern, "chat", Resource{"model", "small", "acme"}, true},
		{"another action", intern, "get", Resource{"model", "big-7b", "acme"}, true},
		{"a condition that holds", callerWith("acme", "admin"), "search", Resource{"collection", "payroll", "acme"}, false},
		{"one that does not", boss, "search", Resource{"collection", "payroll", "acme"}, true},
		{"another tenant", callerWith("globex", "admin"), "search", Resource{"collection", "payroll", "globex"}, true},
		{"a role given to a user", grace, "write", Resource{"document", "c/d", "acme"}, true},
		{"and what that role implies", grace, "chat", Resource{"model", "m", "acme"}, true},
		{"in that tenant only", graceElsewhere, "chat", Resource{"model", "m", "globex"}, false},
	} {
		for _, cached := range []string{"first", "cached"} {
			if got := a.Allowed(t.Context(), c.caller, c.action, c.res); got != c.want {
				t.Errorf("%s (%s): allowed is %v, want %v", c.name, cached, got, c.want)
			}
		}
	}
}

func TestWhatCannotBeJudgedIsRefused(t *testing.T) {
	// What an id is as a number is known when it is asked.
	a := open(t, "p, role:reader, own, model, odd, chat, int(resource_id) > 3, deny\n")
	if a.Allowed(t.Context(), callerWith("acme", "reader"), "chat", Resource{"model", "odd", "acme"}) {
		t.Fatal("a deny rule that cannot be judged let the request through")
	}
	if !a.Allowed(t.Context(), callerWith("acme", "reader"), "chat", Resource{"model", "even", "acme"}) {
		t.Fatal("a rule about something else stopped the request")
	}
}

func TestRetrievalNeedsThePermissionToSearch(t *testing.T) {
	a := open(t, "p, public, own, collection, secret, search, true, deny\n")
	m := Table()[edgev1.OpenAIService_StreamChatCompletion_FullMethodName]
	c := callerWith("acme", "developer")
	req := &edgev1.CreateChatCompletionRequest{Model: "m@v3", Retrieval: &edgev1.Retrieval{Collection: "open"}}
	if err := a.Check(t.Context(), m, c, req); err != nil {
		t.Fatal(err)
	}
	req.Retrieval.Collection = "secret"
	if err := a.Check(t.Context(), m, c, req); apierr.ReasonOf(err) != apierr.PermissionDenied {
		t.Fatalf("the context builder may read what its caller may not: %v", err)
	}
}

func TestRulesNameModelsNotReferences(t *testing.T) {
	a := open(t, "p, role:developer, own, model, big, chat, true, deny\n")
	m := Table()[edgev1.OpenAIService_CreateChatCompletion_FullMethodName]
	for _, ref := range []string{"big", "big@v3", "big@prod", "big@sha256:00"} {
		err := a.Check(t.Context(), m, callerWith("acme", "developer"), &edgev1.CreateChatCompletionRequest{Model: ref})
		if err == nil {
			t.Errorf("%s went around the rule", ref)
		}
	}
}
