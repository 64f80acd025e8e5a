package search_test

import (
	"context"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// admin is a call on behalf of an administrator.
func (h *harness) admin(tenant, subject string, principals ...string) context.Context {
	return identity.NewContext(h.t.Context(), identity.Caller{
		Tenant: tenant, Subject: subject, Principals: append([]string{"user:" + subject}, principals...), Roles: []string{"admin"},
	})
}

func (h *harness) get(ctx context.Context, id string) (*searchv1.Document, error) {
	resp, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: id})
	return resp.GetDocument(), err
}

const denied = "failed(PERMISSION_DENIED documents[0].id)"

func TestHiddenDocumentsAreNotReplaced(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	before := h.put(ada, "c", withACL(doc("secret", "the plan"), "user:ada")).GetGeneration()
	embedded := h.inference.embedded()
	var messages []string
	for name, d := range map[string]*searchv1.Document{
		"the very same":     withACL(doc("secret", "the plan"), "user:ada"),
		"the same text":     doc("secret", "the plan"),
		"another text":      doc("secret", "something else"),
		"a list with me":    withACL(doc("secret", "the plan"), "user:ada", "user:eve"),
		"more than allowed": doc("secret", strings.Repeat("many words ", 10_000)),
	} {
		resp, err := h.client.BatchUpsertDocuments(eve, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: []*searchv1.Document{d}})
		if err != nil {
			t.Fatal(err)
		}
		r := resp.GetResults()[0]
		if r.GetStatus() != "failed" || r.GetError().GetCode() != string(apierr.PermissionDenied) || r.GetChunkCount() != 0 || resp.GetGeneration() != before {
			t.Errorf("%s: %v", name, resp)
		}
		messages = append(messages, r.GetError().GetMessage())
	}
	for _, m := range messages {
		if m != messages[0] || !strings.Contains(m, "not available to you") {
			t.Errorf("the content shows: %q, %q", m, messages[0])
		}
	}
	if got := h.inference.embedded(); got != embedded {
		t.Errorf("%d passages were embedded for nothing", got-embedded)
	}
	// The others of the batch stand for themselves.
	if got := h.batch(eve, "c", doc("secret", "x"), doc("mine", "x")); got != denied+" created" {
		t.Error(got)
	}
	d, err := h.get(ada, "secret")
	if err != nil || d.GetText() != "the plan" || strings.Join(d.GetAcl().GetPrincipals(), " ") != "user:ada" {
		t.Errorf("%v, %v", d, err)
	}
	if got := chunkIDs(h.search(eve, &searchv1.SearchRequest{Collection: "c", Query: "plan"})); got != "mine#0" && got != "" {
		t.Errorf("eve finds %q", got)
	}
	if got := h.batch(ada, "c", withACL(doc("secret", "the new plan"), "user:ada")); got != "updated" {
		t.Errorf("who may read it: %s", got)
	}
}

// TestADocumentThatIsHiddenMeanwhile takes the right to read away while the
// new text is being embedded.
func TestADocumentThatIsHiddenMeanwhile(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	h.put(ada, "c", doc("a", "the plan"))
	h.inference.set(func(f *fakeInference) {
		f.hook = func(*inferencev1.EmbedRequest) error {
			f.hook = nil // the same text needs no embedding, so this does not wait for itself
			h.put(ada, "c", withACL(doc("a", "the plan"), "user:ada"))
			return nil
		}
	})
	if got := h.batch(eve, "c", doc("a", "something else"), doc("b", "more")); got != denied+" created" {
		t.Error(got)
	}
	if d, err := h.get(ada, "a"); err != nil || d.GetText() != "the plan" || d.GetAcl() == nil {
		t.Errorf("%v, %v", d, err)
	}
	resp, err := h.client.GetCollection(ada, &searchv1.GetCollectionRequest{Collection: "c"})
	if c := resp.GetCollection(); err != nil || c.GetDocumentCount() != 2 || c.GetChunkCount() != 2 {
		t.Errorf("%v, %v", c, err)
	}
}

// TestAdministratorsPublishForGroups writes, writes again and removes what the
// administrator may not read.
func TestAdministratorsPublishForGroups(t *testing.T) {
	h := newHarness(t)
	root, fin, other := h.admin("acme", "root"), h.as("fin", "group:finance"), h.admin("globex", "root")
	h.create(root, "c")
	h.create(other, "c")
	budget := func(text string) *searchv1.Document { return withACL(doc("budget", text), "group:finance") }
	for _, step := range []struct{ text, want string }{{"one", "created"}, {"one", "unchanged"}, {"two", "updated"}} {
		if got := h.batch(root, "c", budget(step.text)); got != step.want {
			t.Errorf("%s: %s, want %s", step.text, got, step.want)
		}
	}
	// Reading stays with the access list.
	_, err := h.get(root, "budget")
	h.wantReason(err, apierr.NotFound, "document")
	if got := chunkIDs(h.search(root, &searchv1.SearchRequest{Collection: "c", Query: "two"})); got != "" {
		t.Errorf("root finds %q", got)
	}
	if list, err := h.client.ListDocuments(root, &searchv1.ListDocumentsRequest{Collection: "c"}); err != nil || len(list.GetDocuments()) != 0 {
		t.Errorf("root lists %v, %v", list, err)
	}
	if d, err := h.get(fin, "budget"); err != nil || d.GetText() != "two" {
		t.Errorf("finance reads %v, %v", d, err)
	}
	remove := func(ctx context.Context) error {
		_, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "budget"})
		return err
	}
	h.wantReason(remove(other), apierr.NotFound, "document")
	h.wantReason(remove(h.as("dev")), apierr.NotFound, "document")
	// The name of the role is no principal, and the principal no role.
	h.wantReason(remove(h.as("dev", "role:admin", "admin")), apierr.NotFound, "document")
	if got := h.batch(h.as("dev", "role:admin", "admin"), "c", budget("three")); got != denied {
		t.Error(got)
	}
	if err := remove(root); err != nil {
		t.Error(err)
	}
	h.wantReason(remove(root), apierr.NotFound, "document")
	if got := chunkIDs(h.search(fin, &searchv1.SearchRequest{Collection: "c", Query: "two"})); got != "" {
		t.Errorf("finance finds %q after the removal", got)
	}
}

// What may not be deleted by itself is not deleted together with its collection.
func TestHiddenDocumentsAreNotDeletedWithTheirCollection(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	h.put(ada, "c", doc("open", "a plan"), withACL(doc("secret", "the plan"), "user:ada"))
	remove := func(ctx context.Context) error {
		_, err := h.client.DeleteCollection(ctx, &searchv1.DeleteCollectionRequest{Collection: "c"})
		return err
	}
	if err := remove(eve); apierr.ReasonOf(err) != apierr.PermissionDenied || !strings.Contains(err.Error(), "not available to you") {
		t.Errorf("eve: %v", err)
	}
	if d, err := h.get(ada, "secret"); err != nil || d.GetText() != "the plan" {
		t.Errorf("%v, %v", d, err)
	}
	if err := remove(h.admin("acme", "root")); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	h.create(ada, "c")
	h.put(ada, "c", doc("open", "a plan"), withACL(doc("both", "the plan"), "user:ada", "user:eve"))
	if err := remove(eve); err != nil {
		t.Errorf("who may read all of it: %v", err)
	}
}
