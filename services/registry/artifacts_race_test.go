package registry_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Whoever gives an upload up while it becomes an artifact takes nothing away from
// that: it is there with its content, or not at all.
func TestGivingUpWhatIsCompleted(t *testing.T) {
	s, ctx := newShelf(t, nil), t.Context()
	for i := range 40 {
		data, sum := random(i + 1)
		u := s.begin(len(data), "")
		_, err := s.appendTo(ctx, u.GetId(), 0, len(data), data, nil)
		fatal(t, err)
		var at sync.WaitGroup
		at.Go(func() {
			_, _ = s.CompleteUpload(ctx, &registryv1.CompleteUploadRequest{Upload: u.GetId(), Sha256: sum})
		})
		at.Go(func() { _, _ = s.DeleteUpload(ctx, &registryv1.DeleteUploadRequest{Upload: u.GetId()}) })
		at.Wait()
		if _, err := s.GetArtifact(ctx, &registryv1.GetArtifactRequest{Sha256: sum}); apierr.ReasonOf(err) == apierr.NotFound {
			continue
		}
		got, err := s.read(sum, 0)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the artifact is there without its content: %v", err)
		}
	}
	for _, name := range []string{".", "..", "a/b"} {
		_, err := s.CreateUpload(ctx, &registryv1.CreateUploadRequest{Name: name, SizeBytes: 1})
		wantError(t, err, apierr.InvalidArgument, "name")
	}
}
