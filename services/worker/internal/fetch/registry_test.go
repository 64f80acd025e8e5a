package fetch_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/inproc"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// shelf is a registry with one artifact.
type shelf struct {
	registryv1.UnimplementedArtifactServiceServer

	sum, content string
	cut          int  // after so many bytes the registry fails; 0 never
	silent       bool // it sends nothing
}

func (s *shelf) ReadArtifact(req *registryv1.ReadArtifactRequest, stream grpc.ServerStreamingServer[registryv1.ReadArtifactResponse]) error {
	if s.silent {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	if req.GetSha256() != s.sum {
		return apierr.New(apierr.NotFound, "there is no artifact")
	}
	if req.GetOffset() > int64(len(s.content)) {
		return apierr.New(apierr.OutOfRange, "too far")
	}
	if err := stream.Send(&registryv1.ReadArtifactResponse{SizeBytes: int64(len(s.content))}); err != nil {
		return err
	}
	for i, rest := 0, s.content[req.GetOffset():]; rest != ""; i += 3 {
		if s.cut > 0 && i >= s.cut {
			return apierr.New(apierr.Unavailable, "the registry ends").WithRetryAfter(3 * time.Second)
		}
		n := min(3, len(rest))
		if err := stream.Send(&registryv1.ReadArtifactResponse{Data: []byte(rest[:n])}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func TestRegistryArtifacts(t *testing.T) {
	sum, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	s := &shelf{sum: sum, content: "0123456789"}
	conn := inproc.New(nil, func(r grpc.ServiceRegistrar) { registryv1.RegisterArtifactServiceServer(r, s) })
	cfg := fetch.DefaultConfig()
	cfg.Allow = []string{"registry://"}
	fake := clock.NewFake(time.Unix(0, 0))
	fetchers := fetch.New(cfg, fake, fetch.WithRegistry(registryv1.NewArtifactServiceClient(conn), cfg.IdleTimeout, fake))
	open := func(ctx context.Context, path, want string, offset int64) (*fetch.Content, error) {
		ref, err := fetch.Parse("registry://sha256/" + path)
		if err != nil {
			t.Fatal(err)
		}
		if !fetchers.Allows(ref) {
			t.Fatal("it is not allowed")
		}
		return fetchers.Open(ctx, fetch.Request{Ref: ref, SHA256: want, Offset: offset})
	}
	for _, offset := range []int64{0, 4, 10} {
		c, err := open(t.Context(), sum, sum, offset)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c.Body)
		if err != nil || string(got) != s.content[offset:] || c.Size != 10 || c.Offset != offset || c.Validator != sum {
			t.Errorf("from %d: %q of %d, %v", offset, got, c.Size, err)
		}
		if err := c.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, tt := range map[string]struct {
		path, want string
		offset     int64
		kind       fetch.Kind
	}{
		"none there":         {other, other, 0, fetch.Permanent},
		"another hash":       {sum, other, 0, fetch.Permanent},
		"beyond the end":     {sum, sum, 11, fetch.Restart},
		"a negative request": {other, sum, 0, fetch.Permanent},
	} {
		if _, err := open(t.Context(), tt.path, tt.want, tt.offset); err == nil || fetch.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.cut = 6
	c, err := open(t.Context(), sum, sum, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c.Body)
	if string(got) != "012345" || fetch.KindOf(err) != fetch.Temporary || fetch.RetryAfter(err) != 3*time.Second {
		t.Errorf("cut: %q, %v", got, err)
	}
	_ = c.Body.Close()

	s.silent = true
	failed := make(chan error, 1)
	go func() {
		_, err := open(t.Context(), sum, sum, 0)
		failed <- err
	}()
	if err := fake.BlockUntil(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	fake.Advance(cfg.IdleTimeout)
	if err := <-failed; fetch.KindOf(err) != fetch.Temporary || !strings.Contains(err.Error(), "nothing came") {
		t.Errorf("silence: %v", err)
	}

	ref, err := fetch.Parse("registry://sha256/" + sum)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetch.New(cfg, fake).Open(t.Context(), fetch.Request{Ref: ref, SHA256: sum}); fetch.KindOf(err) != fetch.Permanent {
		t.Errorf("without a registry: %v", err)
	}
	if fetch.New(fetch.DefaultConfig(), fake).Allows(ref) {
		t.Error("it is allowed by default")
	}
	for _, uri := range []string{"registry://sha256/abc", "registry://sha512/" + sum, "registry://sha256/" + sum + "/x", "registry://sha256/" + strings.ToUpper(sum), "registry://sha256/" + sum + "?x=1"} {
		if _, err := fetch.Parse(uri); err == nil {
			t.Errorf("%s is taken", uri)
		}
	}
}
