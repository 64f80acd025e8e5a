package search_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

func (h *harness) backup(ctx context.Context, collection string) ([]byte, error) {
	h.t.Helper()
	stream, err := h.client.BackupCollection(ctx, &searchv1.BackupCollectionRequest{Collection: collection})
	if err != nil {
		return nil, err
	}
	var out []byte
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, resp.GetData()...)
	}
}

// restore sends a backup in small pieces.
func (h *harness) restore(ctx context.Context, collection string, data []byte) (*searchv1.Collection, error) {
	h.t.Helper()
	stream, err := h.client.RestoreCollection(ctx)
	if err != nil {
		return nil, err
	}
	req := &searchv1.RestoreCollectionRequest{Collection: collection}
	for {
		n := min(len(data), 1000)
		req.Data, data = data[:n], data[n:]
		if stream.Send(req) != nil || len(data) == 0 {
			break // what is wrong is received
		}
		req = &searchv1.RestoreCollectionRequest{}
	}
	resp, err := stream.CloseAndRecv()
	return resp.GetCollection(), err
}

// filledForBackup makes a collection with documents of every kind.
func (h *harness) filledForBackup(ctx context.Context) {
	h.t.Helper()
	if _, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{
		Id: "c", DisplayName: "C", Fusion: "min_max", Weights: &searchv1.LegWeights{Lexical: 1, Vector: 2}, VectorMetric: "dot",
	}); err != nil {
		h.t.Fatal(err)
	}
	for i := range 30 {
		h.put(ctx, "c", withMetadata(h.t, doc(fmt.Sprintf("d%d", i%20), fmt.Sprintf("the plan of item %d in words", i)), map[string]any{"n": i, "tags": []any{"x", "y"}}))
	}
	h.put(ctx, "c", withACL(doc("secret", "the plan of finance"), "group:finance"), withACL(doc("nobody", "the plan of nobody")),
		doc("guide", "# Guide\n\n## Install\n\nThe plan of the guide."), doc("long", strings.Repeat("Many words are in this paragraph, which goes on and on.\n\n", 200)))
	if _, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "d3"}); err != nil {
		h.t.Fatal(err)
	}
}

// A restored collection answers as the one that was backed up did, to everybody,
// and nothing of it is embedded again.
func TestBackupIsRestored(t *testing.T) {
	h := newHarness(t)
	root := h.admin("acme", "root")
	h.filledForBackup(root)
	data, err := h.backup(root, "c")
	if err != nil {
		t.Fatal(err)
	}
	h.put(root, "c", doc("later", "the plan of later")) // not in the backup
	before := h.inference.embedded()
	got, err := h.restore(root, "copy", data)
	if err != nil {
		t.Fatal(err)
	}
	if h.inference.embedded() != before {
		t.Error("passages were embedded again")
	}
	if _, err := h.client.DeleteDocument(root, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "later"}); err != nil {
		t.Fatal(err)
	}
	want, err := h.client.GetCollection(root, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil {
		t.Fatal(err)
	}
	w := want.GetCollection()
	w.Id, w.Generation, w.CreateTime, w.UpdateTime = "copy", got.GetGeneration(), got.GetCreateTime(), got.GetUpdateTime()
	if !proto.Equal(got, w) || got.GetVectorMetric() != "dot" {
		t.Errorf("got  %v\nwant %v", got, w)
	}
	for _, who := range []context.Context{root, h.as("fin", "group:finance"), h.as("eve")} {
		for _, req := range []*searchv1.SearchRequest{
			{Query: "the plan", TopK: 50},
			{Query: "the plan of item 7", Mode: "vector", TopK: 50},
			{Query: "finance", Mode: "lexical"},
			{Query: "words", Filter: `n > 25 AND tags:"x"`},
		} {
			req.Collection = "c"
			want := h.search(who, req)
			req.Collection = "copy"
			got := h.search(who, req)
			if len(want.GetHits()) != len(got.GetHits()) {
				t.Fatalf("%q: %d hits, want %d", req.GetQuery(), len(got.GetHits()), len(want.GetHits()))
			}
			for i, hit := range got.GetHits() {
				if !proto.Equal(hit, want.GetHits()[i]) {
					t.Errorf("%q: hit %d is %v, want %v", req.GetQuery(), i, hit, want.GetHits()[i])
				}
			}
		}
		for _, id := range []string{"d0", "secret", "nobody", "d3"} {
			want, werr := h.client.GetDocument(who, &searchv1.GetDocumentRequest{Collection: "c", Document: id})
			got, gerr := h.client.GetDocument(who, &searchv1.GetDocumentRequest{Collection: "copy", Document: id})
			if !proto.Equal(got, want) || apierr.ReasonOf(gerr) != apierr.ReasonOf(werr) {
				t.Errorf("%s: got %v, %v; want %v, %v", id, got, gerr, want, werr)
			}
		}
	}
	h.put(root, "copy", doc("d0", "another text")) // it goes on
	if again, err := h.backup(root, "copy"); err != nil || len(again) == 0 {
		t.Error(err)
	}
}

// What was cut off or changed is refused, and nothing of it is left.
func TestABackupThatIsNotWholeIsRefused(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Limits.RestoreBytes = 1 << 20 })
	root := h.admin("acme", "root")
	h.filledForBackup(root)
	data, err := h.backup(root, "c")
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, b []byte, reason apierr.Reason, field string) {
		t.Helper()
		_, err := h.restore(root, "copy", b)
		if e := apierr.From(err); err == nil || e.Reason != reason || e.Field != field {
			t.Errorf("%s: got %v", what, err)
		}
		if _, err := h.client.GetCollection(root, &searchv1.GetCollectionRequest{Collection: "copy"}); apierr.ReasonOf(err) != apierr.NotFound {
			t.Fatalf("%s: something is left: %v", what, err)
		}
	}
	for at := 0; at < len(data); at += 1 + len(data)/25 {
		refused(fmt.Sprint("cut off at ", at), data[:at], apierr.InvalidArgument, "data")
		changed := append([]byte(nil), data...)
		changed[at] ^= 0x40
		refused(fmt.Sprint("changed at ", at), changed, apierr.InvalidArgument, "data")
	}
	refused("longer", append(append([]byte(nil), data...), 0), apierr.InvalidArgument, "data")
	refused("large", make([]byte, 1<<20+1), apierr.PayloadTooLarge, "")
	_, err = h.restore(root, "c", data)
	h.wantReason(err, apierr.AlreadyExists, "collection")
	_, err = h.restore(root, "", data)
	h.wantReason(err, apierr.InvalidArgument, "collection")
	_, err = h.restore(root, "Not An Id", data)
	h.wantReason(err, apierr.InvalidArgument, "collection")
}

// A backup holds what its taker may not read, and so is for administrators of
// the tenant alone.
func TestBackupsAreForAdministrators(t *testing.T) {
	h := newHarness(t)
	root := h.admin("acme", "root")
	h.filledForBackup(root)
	data, err := h.backup(root, "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []context.Context{h.as("dev"), h.as("dev", "role:admin", "admin")} {
		_, err = h.backup(who, "c")
		h.wantReason(err, apierr.PermissionDenied, "")
		_, err = h.restore(who, "copy", data)
		h.wantReason(err, apierr.PermissionDenied, "")
	}
	other := h.admin("globex", "root")
	_, err = h.backup(other, "c")
	h.wantReason(err, apierr.NotFound, "collection")
	// In another tenant, everybody in the tenant is everybody in that one.
	if _, err := h.restore(other, "c", data); err != nil {
		t.Fatal(err)
	}
	eve := h.of("globex", "eve")
	if got := h.search(eve, &searchv1.SearchRequest{Collection: "c", Query: "finance nobody item", TopK: 50}); len(got.GetHits()) == 0 ||
		strings.Contains(chunkIDs(got), "secret") || strings.Contains(chunkIDs(got), "nobody") {
		t.Errorf("eve finds %s", chunkIDs(got))
	}
}
