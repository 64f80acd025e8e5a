package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Killed again and again in the middle of parts and of completions, the registry
// goes on where it was: what it said that it keeps is there, what is seen is
// whole, and in the end nothing is left over.
func TestKillTearsNoArtifact(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "registry.db")
	chance := rand.New(rand.NewPCG(3, 4))
	p := startProcess(t, db)
	const size = 24 << 20
	for file := range 2 {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(file + 1)}).Read(data)
		raw := sha256.Sum256(data)
		sum := hex.EncodeToString(raw[:])
		begun, err := p.artifacts.CreateUpload(t.Context(), &registryv1.CreateUploadRequest{SizeBytes: size, Sha256: sum})
		if err != nil {
			t.Fatal(err)
		}
		id, kept, kills := begun.GetUpload().GetId(), int64(0), 0
		for whole := false; !whole; {
			got, err := p.artifacts.GetUpload(t.Context(), &registryv1.GetUploadRequest{Upload: id})
			if err != nil {
				t.Fatal(err)
			}
			if now := got.GetUpload().GetOffset(); now < kept {
				t.Fatalf("%d bytes are kept, it said %d", now, kept)
			}
			kept = got.GetUpload().GetOffset()
			if kills < 6 {
				// From a moment in which it reads to one in which it completes.
				victim := p.Process
				timer := time.AfterFunc(time.Duration(chance.IntN(120))*time.Millisecond, victim.Kill)
				kept = max(kept, send(t.Context(), p.artifacts, id, kept, data))
				timer.Stop()
				victim.Kill()
				kills++
				p = startProcess(t, db)
			} else {
				kept = send(t.Context(), p.artifacts, id, kept, data)
			}
			content, err := read(t.Context(), p.artifacts, sum)
			switch {
			case status.Code(err) == codes.NotFound:
			case err != nil:
				t.Fatal(err)
			case !bytes.Equal(content, data):
				t.Fatal("what is seen is not whole")
			default:
				whole = true
			}
		}
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, "artifacts"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files != 2 {
		t.Errorf("%d files, %v", files, err)
	}
}

// send appends the rest and returns what was acknowledged.
func send(ctx context.Context, c registryv1.ArtifactServiceClient, id string, from int64, data []byte) int64 {
	call, err := c.AppendUpload(ctx)
	if err != nil {
		return 0
	}
	req := &registryv1.AppendUploadRequest{Upload: id, Offset: from, SizeBytes: int64(len(data)) - from}
	for rest := data[from:]; ; {
		n := min(len(rest), 512<<10)
		req.Data, rest = rest[:n], rest[n:]
		if call.Send(req) != nil || len(rest) == 0 {
			break
		}
		req = new(registryv1.AppendUploadRequest)
	}
	resp, err := call.CloseAndRecv()
	if err != nil {
		return 0
	}
	return resp.GetUpload().GetOffset()
}

func read(ctx context.Context, c registryv1.ArtifactServiceClient, sum string) ([]byte, error) {
	stream, err := c.ReadArtifact(ctx, &registryv1.ReadArtifactRequest{Sha256: sum})
	if err != nil {
		return nil, err
	}
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
