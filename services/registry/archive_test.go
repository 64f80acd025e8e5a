package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// archived is what the stream gives, whole.
func (r *rig) archived(t *testing.T) []byte {
	t.Helper()
	call, err := r.ExportArchive(t.Context(), &registryv1.ExportArchiveRequest{})
	fatal(t, err)
	var out bytes.Buffer
	for {
		piece, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return out.Bytes()
		}
		fatal(t, err)
		out.Write(piece.GetData())
	}
}

// moveIn sends an archive in pieces.
func (r *rig) moveIn(ctx context.Context, raw []byte, conflict registryv1.ImportConflict) (*registryv1.ImportArchiveResponse, error) {
	call, err := r.ImportArchive(ctx)
	if err != nil {
		return nil, err
	}
	for first := true; first || len(raw) > 0; first = false {
		n := min(len(raw), 1000)
		req := &registryv1.ImportArchiveRequest{Data: raw[:n]}
		if first {
			req.Conflict = conflict
		}
		if call.Send(req) != nil {
			break // why is received
		}
		raw = raw[n:]
	}
	return call.CloseAndRecv()
}

// What is not all of an archive, or not what its end says, is refused and leaves
// nothing; all of it makes another registry the same.
func TestArchiveThroughTheService(t *testing.T) {
	from, ctx := start(t, nil), t.Context()
	_, err := from.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m", Labels: map[string]string{"team": "a"}})
	fatal(t, err)
	for _, seed := range []string{"1", "2"} {
		_, err := from.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec(seed)})
		fatal(t, err)
	}
	_, err = from.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: 2})
	fatal(t, err)
	_, err = from.CreatePromptVersion(ctx, &registryv1.CreatePromptVersionRequest{Prompt: "p", Spec: &registryv1.PromptSpec{
		Messages: []*registryv1.PromptMessage{{Role: "user", Content: "hello"}},
	}})
	fatal(t, err)
	whole := from.archived(t)
	lines := strings.SplitAfter(string(whole), "\n")
	to := start(t, nil)
	join := func(lines ...string) []byte { return []byte(strings.Join(lines, "")) }
	for name, raw := range map[string][]byte{
		"nothing":       nil,
		"cut in a line": whole[:len(whole)/2],
		"cut at a line": join(lines[:len(lines)-2]...),
		"a line less":   join(append([]string{lines[0]}, lines[2:]...)...),
		"changed":       bytes.Replace(whole, []byte(`"team":"a"`), []byte(`"team":"b"`), 1),
		"more":          append(bytes.Clone(whole), '{', '}', '\n'),
		"no archive":    []byte("rubbish\n"),
		"no header":     join(lines[1:]...),
		"other format":  bytes.Replace(whole, []byte("archive/2"), []byte("archive/9"), 1),
	} {
		_, err := to.moveIn(ctx, raw, 0)
		if e := apierr.From(err); e == nil || e.Reason != apierr.InvalidArgument || e.Field != "data" {
			t.Errorf("%s: %v", name, err)
		}
		if list, err := to.ListModels(ctx, &registryv1.ListModelsRequest{}); err != nil || len(list.GetModels()) != 0 {
			t.Fatalf("%s left %v, %v", name, list, err)
		}
	}
	got, err := to.moveIn(ctx, whole, 0)
	fatal(t, err)
	if got.GetModels()["m"] != registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED || got.GetPrompts()["p"] != registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED {
		t.Errorf("got %v", got)
	}
	again := strings.SplitAfter(string(to.archived(t)), "\n")
	if n := len(lines); len(again) != n || strings.Join(again[1:n-2], "") != strings.Join(lines[1:n-2], "") {
		t.Errorf("what was imported is\n%s\nand was\n%s", strings.Join(again, ""), whole)
	}
	got, err = to.moveIn(ctx, whole, registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE)
	fatal(t, err)
	if got.GetModels()["m"] != registryv1.ImportOutcome_IMPORT_OUTCOME_UNCHANGED {
		t.Errorf("once more: %v", got)
	}
}
