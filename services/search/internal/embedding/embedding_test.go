package embedding

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// fakeInference answers with the length of each text, and notes the batches.
type fakeInference struct {
	inferencev1.InferenceServiceClient
	mu      sync.Mutex
	batches []int
	inUse   int
	most    int
	answer  func(req *inferencev1.EmbedRequest, resp *inferencev1.EmbedResponse) error
}

func (f *fakeInference) Embed(_ context.Context, req *inferencev1.EmbedRequest, _ ...grpc.CallOption) (*inferencev1.EmbedResponse, error) {
	f.mu.Lock()
	f.batches = append(f.batches, len(req.GetInputs()))
	f.inUse++
	f.most = max(f.most, f.inUse)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inUse--
		f.mu.Unlock()
	}()
	resp := &inferencev1.EmbedResponse{ServedBy: &inferencev1.ServedBy{Digest: "sha256:1"}}
	for _, in := range req.GetInputs() {
		resp.Embeddings = append(resp.Embeddings, &workerv1.Embedding{Values: []float32{float32(len(in.GetText())), 1}})
	}
	if f.answer != nil {
		if err := f.answer(req, resp); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

func client(f *fakeInference) *Client {
	return New(f, Options{Batch: 4, BatchBytes: 100, Concurrency: 2, PassageTimeout: time.Minute, QueryTimeout: time.Minute})
}

func TestVectorsComeInTheOrderOfTheTexts(t *testing.T) {
	f := &fakeInference{}
	var texts []string
	for i := range 30 {
		texts = append(texts, strings.Repeat("x", i+1))
	}
	got, err := client(f).Embed(t.Context(), "m", Passage, texts)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Values {
		if v[0] != float32(i+1) {
			t.Errorf("vector %d is that of a text of %v bytes", i, v[0])
		}
	}
	if got.Digest != "sha256:1" || f.most > 2 || slices.Max(f.batches) > 4 {
		t.Errorf("digest %q, %d calls together, batches %v", got.Digest, f.most, f.batches)
	}
}

func TestLongTextsGoInSmallBatches(t *testing.T) {
	f := &fakeInference{}
	long := strings.Repeat("y", 60)
	if _, err := client(f).Embed(t.Context(), "m", Query, []string{long, long, long + long, "a", "b"}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(f.batches)
	if fmt.Sprint(f.batches) != "[1 1 1 2]" {
		t.Errorf("batches %v", f.batches)
	}
}

func TestWrongAnswersAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(*inferencev1.EmbedRequest, *inferencev1.EmbedResponse) error
		reason apierr.Reason
	}{
		"too few": {func(_ *inferencev1.EmbedRequest, r *inferencev1.EmbedResponse) error {
			r.Embeddings = r.GetEmbeddings()[1:]
			return nil
		}, apierr.EngineFailed},
		"not finite": {func(_ *inferencev1.EmbedRequest, r *inferencev1.EmbedResponse) error {
			r.Embeddings[0].Values[0] = float32(math.NaN())
			return nil
		}, apierr.EngineFailed},
		"zeros": {func(_ *inferencev1.EmbedRequest, r *inferencev1.EmbedResponse) error {
			clear(r.GetEmbeddings()[0].GetValues())
			return nil
		}, apierr.EngineFailed},
		"too wide": {func(_ *inferencev1.EmbedRequest, r *inferencev1.EmbedResponse) error {
			for _, e := range r.GetEmbeddings() {
				e.Values = slices.Repeat([]float32{1}, MaxDimensions+1)
			}
			return nil
		}, apierr.EngineFailed},
		"two widths": {func(_ *inferencev1.EmbedRequest, r *inferencev1.EmbedResponse) error {
			r.Embeddings[0].Values = []float32{1}
			return nil
		}, apierr.EngineFailed},
		"two versions": {func(req *inferencev1.EmbedRequest, r *inferencev1.EmbedResponse) error {
			r.ServedBy.Digest = fmt.Sprint(len(req.GetInputs()))
			return nil
		}, apierr.Unavailable},
		"away": {func(*inferencev1.EmbedRequest, *inferencev1.EmbedResponse) error {
			return apierr.New(apierr.Unavailable, "no worker").GRPCStatus().Err()
		}, apierr.Unavailable},
	} {
		_, err := client(&fakeInference{answer: tc.answer}).Embed(t.Context(), "m", Passage, []string{"a", "b", "c", "d", "e"})
		if got := apierr.ReasonOf(err); got != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPinned(t *testing.T) {
	for _, tc := range [][3]string{
		{"e5", "", "e5"}, {"e5@prod", "", "e5@prod"}, {"e5", "sha256:1", "e5@sha256:1"}, {"e5@prod", "sha256:1", "e5@sha256:1"},
	} {
		if got := Pinned(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%s, %q: %s", tc[0], tc[1], got)
		}
	}
}

func TestValidReference(t *testing.T) {
	for s, want := range map[string]bool{
		"e5": true, "multilingual-e5-small": true, "e5@production": true, "e5@v3": true, "e5@sha256:" + strings.Repeat("a", 64): true,
		"": false, "@v1": false, "e5@": false, "/models/e5.bin": false, "E5": false, ".e5": false, "e5@a@b": false,
		strings.Repeat("x", 64): false,
	} {
		if got := ValidReference(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
