package registry_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// shelf is a registry with its store of artifacts.
type shelf struct {
	*rig
	registryv1.ArtifactServiceClient
	t   *testing.T
	dir string
}

func newShelf(t *testing.T, change func(*registry.Config), opts ...registry.Option) *shelf {
	t.Helper()
	s := &shelf{t: t}
	s.rig = start(t, func(c *registry.Config) {
		c.Artifacts.Uploads.PartBytes = 5 << 20
		if change != nil {
			change(c)
		}
		s.dir = c.Artifacts.Dir
	}, opts...)
	s.ArtifactServiceClient = registryv1.NewArtifactServiceClient(s.conn)
	return s
}

func random(n int) (data []byte, sum string) {
	data = make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(data)
	digest := sha256.Sum256(data)
	return data, hex.EncodeToString(digest[:])
}

func (s *shelf) begin(size int, sum string) *registryv1.Upload {
	s.t.Helper()
	resp, err := s.CreateUpload(s.t.Context(), &registryv1.CreateUploadRequest{Name: "m.gguf", SizeBytes: int64(size), Sha256: sum})
	fatal(s.t, err)
	return resp.GetUpload()
}

// appendTo sends data of which said bytes were announced.
func (s *shelf) appendTo(ctx context.Context, id string, offset, said int, data []byte, check *registryv1.Checksum) (*registryv1.Upload, error) {
	call, err := s.AppendUpload(ctx)
	if err != nil {
		return nil, err
	}
	req := &registryv1.AppendUploadRequest{Upload: id, Offset: int64(offset), SizeBytes: int64(said), Checksum: check}
	for {
		n := min(len(data), 256<<10)
		req.Data, data = data[:n], data[n:]
		if err := call.Send(req); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		} else if err != nil || len(data) == 0 {
			break
		}
		req = new(registryv1.AppendUploadRequest)
	}
	resp, err := call.CloseAndRecv()
	return resp.GetUpload(), err
}

func (s *shelf) offset(id string) int64 {
	s.t.Helper()
	resp, err := s.GetUpload(s.t.Context(), &registryv1.GetUploadRequest{Upload: id})
	fatal(s.t, err)
	return resp.GetUpload().GetOffset()
}

func (s *shelf) read(sum string, offset int64) ([]byte, error) {
	s.t.Helper()
	stream, err := s.ReadArtifact(s.t.Context(), &registryv1.ReadArtifactRequest{Sha256: sum, Offset: offset})
	fatal(s.t, err)
	var out bytes.Buffer
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		out.Write(m.GetData())
	}
}

func (s *shelf) files() (paths []string) {
	s.t.Helper()
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return nil
	})
	return paths
}

// A file comes in pieces, broken ones among them, and is then what a version may
// refer to.
func TestLifeOfAnArtifact(t *testing.T) {
	s, ctx := newShelf(t, nil), t.Context()
	data, sum := random(12 << 20)
	u := s.begin(len(data), sum)

	// The client breaks off after 7 MiB: the whole parts stay.
	broken, leave := context.WithCancel(ctx)
	call, err := s.AppendUpload(broken)
	fatal(t, err)
	req := &registryv1.AppendUploadRequest{Upload: u.GetId(), SizeBytes: int64(len(data))}
	for at := 0; at < 7<<20; at += 1 << 20 {
		req.Data = data[at : at+1<<20]
		fatal(t, call.Send(req))
		req = new(registryv1.AppendUploadRequest)
	}
	for s.offset(u.GetId()) == 0 {
		<-time.After(5 * time.Millisecond)
	}
	// Whoever comes again has the client's word that the call before is lost.
	from := int(s.offset(u.GetId()))
	if from != 4<<20 { // of three parts alike
		t.Errorf("%d bytes are kept", from)
	}
	_, err = s.appendTo(ctx, u.GetId(), 0, 1, []byte("x"), nil)
	wantError(t, err, apierr.Conflict, "offset")
	if got := apierr.From(err).Metadata["offset"]; got != "4194304" {
		t.Errorf("the error tells to go on at %s", got)
	}
	leave()
	_, err = s.CompleteUpload(ctx, &registryv1.CompleteUploadRequest{Upload: u.GetId()})
	wantError(t, err, apierr.FailedPrecondition, "offset")
	_, err = s.GetArtifact(ctx, &registryv1.GetArtifactRequest{Sha256: sum})
	wantError(t, err, apierr.NotFound, "sha256")

	bad := sha1.Sum([]byte("other"))
	_, err = s.appendTo(ctx, u.GetId(), from, 5<<20, data[from:from+5<<20], &registryv1.Checksum{Algorithm: registryv1.Checksum_ALGORITHM_SHA1, Value: bad[:]})
	wantError(t, err, apierr.InvalidArgument, "checksum")
	good := sha256.Sum256(data[from : from+5<<20])
	check := &registryv1.Checksum{Algorithm: registryv1.Checksum_ALGORITHM_SHA256, Value: good[:]}
	for range 2 { // the second time the answer was lost
		got, err := s.appendTo(ctx, u.GetId(), from, 5<<20, data[from:from+5<<20], check)
		fatal(t, err)
		if got.GetOffset() != 9<<20 || got.GetComplete() {
			t.Errorf("got %v", got)
		}
	}
	parts, err := s.ListUploadParts(ctx, &registryv1.ListUploadPartsRequest{Upload: u.GetId(), PageSize: 1})
	fatal(t, err)
	if p := parts.GetParts(); len(p) != 1 || p[0].GetSizeBytes() != 4<<20 || parts.GetNextPageToken() == "" {
		t.Errorf("parts %v", parts)
	}
	got, err := s.appendTo(ctx, u.GetId(), 9<<20, 3<<20, data[9<<20:], nil)
	fatal(t, err)
	if !got.GetComplete() {
		t.Fatalf("the last byte does not complete it: %v", got)
	}
	for range 2 {
		resp, err := s.CompleteUpload(ctx, &registryv1.CompleteUploadRequest{Upload: u.GetId(), Sha256: sum})
		fatal(t, err)
		if resp.GetArtifact().GetUri() != "registry://sha256/"+sum {
			t.Errorf("got %v", resp)
		}
	}
	for _, offset := range []int{0, 1, 5 << 20, len(data)} {
		content, err := s.read(sum, int64(offset))
		fatal(t, err)
		if !bytes.Equal(content, data[offset:]) {
			t.Errorf("from %d: %d bytes", offset, len(content))
		}
	}
	_, err = s.read(sum, int64(len(data))+1)
	wantError(t, err, apierr.OutOfRange, "offset")
	_, err = s.CreateUpload(ctx, &registryv1.CreateUploadRequest{SizeBytes: 1, Sha256: sum})
	wantError(t, err, apierr.AlreadyExists, "sha256")

	_, err = s.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	m := spec("1")
	m.Artifacts = []*commonv1.Artifact{{Uri: "registry://sha256/" + sum, Sha256: sum, SizeBytes: int64(len(data))}}
	_, err = s.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: m})
	fatal(t, err)
	_, err = s.DeleteArtifact(ctx, &registryv1.DeleteArtifactRequest{Sha256: sum})
	wantError(t, err, apierr.FailedPrecondition, "sha256")
	described, err := s.GetArtifact(ctx, &registryv1.GetArtifactRequest{Sha256: sum})
	fatal(t, err)
	if a := described.GetArtifact(); a.GetReferenceCount() != 1 || a.GetReferences()[0].GetModel() != "m" {
		t.Errorf("described as %v", a)
	}
	_, err = s.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: "m", Purge: true})
	fatal(t, err)
	_, err = s.DeleteArtifact(ctx, &registryv1.DeleteArtifactRequest{Sha256: sum})
	fatal(t, err)
	if left := s.files(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWrongFileIsNeverSeen(t *testing.T) {
	s, ctx := newShelf(t, nil), t.Context()
	data, sum := random(1000)
	_, other := random(1001)
	u := s.begin(len(data), other)
	_, err := s.appendTo(ctx, u.GetId(), 0, len(data), data, nil)
	wantError(t, err, apierr.FailedPrecondition, "sha256")
	for _, name := range []string{sum, other} {
		_, err = s.GetArtifact(ctx, &registryv1.GetArtifactRequest{Sha256: name})
		wantError(t, err, apierr.NotFound, "sha256")
	}
	_, err = s.DeleteUpload(ctx, &registryv1.DeleteUploadRequest{Upload: u.GetId()})
	fatal(t, err)
	_, err = s.DeleteUpload(ctx, &registryv1.DeleteUploadRequest{Upload: u.GetId()})
	wantError(t, err, apierr.NotFound, "upload")
	if left := s.files(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBadUploads(t *testing.T) {
	s, ctx := newShelf(t, func(c *registry.Config) { c.Artifacts.MaxBytes = 6 << 20 }), t.Context()
	create := func(req *registryv1.CreateUploadRequest) error {
		_, err := s.CreateUpload(ctx, req)
		return err
	}
	wantError(t, create(&registryv1.CreateUploadRequest{}), apierr.InvalidArgument, "size_bytes")
	wantError(t, create(&registryv1.CreateUploadRequest{SizeBytes: 7 << 20}), apierr.PayloadTooLarge, "size_bytes")
	wantError(t, create(&registryv1.CreateUploadRequest{SizeBytes: 1, Sha256: "ab"}), apierr.InvalidArgument, "sha256")
	wantError(t, create(&registryv1.CreateUploadRequest{SizeBytes: 1, Name: "../x"}), apierr.InvalidArgument, "name")
	u := s.begin(6<<20, "")
	data, _ := random(6 << 20)
	send := func(offset, said int, data []byte, check *registryv1.Checksum) error {
		_, err := s.appendTo(ctx, u.GetId(), offset, said, data, check)
		return err
	}
	wantError(t, send(0, 6<<20+1, nil, nil), apierr.PayloadTooLarge, "size_bytes")
	wantError(t, send(0, 100, data[:50], nil), apierr.InvalidArgument, "data")
	wantError(t, send(0, 6<<20, data, &registryv1.Checksum{Algorithm: registryv1.Checksum_ALGORITHM_CRC32C, Value: []byte("abcd")}), apierr.PayloadTooLarge, "size_bytes")
	wantError(t, send(0, 6<<20, data, &registryv1.Checksum{Value: []byte("abcd")}), apierr.InvalidArgument, "checksum.algorithm")
	_, err := s.appendTo(ctx, "none", 0, 1, []byte("x"), nil)
	wantError(t, err, apierr.NotFound, "upload")
	if s.offset(u.GetId()) != 0 {
		t.Error("something was kept")
	}
	fatal(t, send(0, 6<<20, data, nil))
	_, err = s.CompleteUpload(ctx, &registryv1.CompleteUploadRequest{Upload: u.GetId()})
	wantError(t, err, apierr.InvalidArgument, "sha256")
}

// What is left behind goes by itself: uploads that get no further, and files that
// nothing refers to.
func TestLeftoversAreCollected(t *testing.T) {
	fake := clock.NewFake(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	s, ctx := newShelf(t, nil, registry.WithClock(fake)), t.Context()
	data, sum := random(100)
	u := s.begin(len(data), sum)
	_, err := s.appendTo(ctx, u.GetId(), 0, len(data), data, nil)
	fatal(t, err)
	s.begin(50, "")
	resp, err := s.CollectArtifacts(ctx, &registryv1.CollectArtifactsRequest{DryRun: true})
	fatal(t, err)
	if resp.GetArtifactCount() != 0 || resp.GetWaitingCount() != 1 {
		t.Errorf("got %v", resp)
	}
	fake.Advance(25 * time.Hour)
	for range 2 {
		resp, err = s.CollectArtifacts(ctx, &registryv1.CollectArtifactsRequest{DryRun: true})
		fatal(t, err)
	}
	if resp.GetArtifactCount() > 1 { // the registry may have been faster
		t.Errorf("got %v", resp)
	}
	for len(s.files()) > 0 {
		fake.Advance(11 * time.Minute)
		<-time.After(5 * time.Millisecond)
	}
	list, err := s.ListUploads(ctx, &registryv1.ListUploadsRequest{})
	fatal(t, err)
	if len(list.GetUploads()) > 0 {
		t.Errorf("open: %v", list)
	}
}
