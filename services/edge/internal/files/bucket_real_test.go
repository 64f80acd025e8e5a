//go:build real

package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge/internal/filebucket"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// envS3Gateway names the program of an S3 server that keeps buckets in a directory.
const envS3Gateway = "POTERNE_S3_GATEWAY_BIN"

func TestRealBucket(t *testing.T) {
	dir, addr := t.TempDir(), testkit.FreeAddr(t)
	for _, d := range []string{"data/batches", "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Start(t, testkit.Command{
		Name: "s3", Path: testkit.Binary(t, envS3Gateway, []string{"versitygw"}), Dir: dir,
		Args: []string{
			"--port", addr, "--access", "AKTEST", "--secret", "s3cret-key",
			"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"),
		},
		Ready: testkit.ReadyTCP(addr),
	})
	cfg := files.DefaultConfig().Bucket
	cfg.Name, cfg.Prefix, cfg.Endpoint, cfg.AccessKeyID, cfg.SecretAccessKey = "batches", "poterne/", "http://"+addr, "AKTEST", "s3cret-key"
	bucket, err := filebucket.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("contents", func(t *testing.T) { files.SuiteOfContents(t, bucket) })
	t.Run("store", func(t *testing.T) { files.SuiteOfStores(t, files.Place{Name: files.PlaceBucket, Contents: bucket}) })

	cfg.SecretAccessKey = "wr0ng"
	stranger, err := filebucket.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Get(t.Context(), "file-two", 0); err == nil || errors.Is(err, files.ErrNotFound) {
		t.Errorf("with a wrong key: %v", err)
	}
	if err := stranger.Remove(t.Context(), "file-two", 1); err == nil {
		t.Error("a wrong key removes")
	}
	if got, err := bucket.Get(t.Context(), "file-two", 0); err != nil || string(got) != "other" {
		t.Errorf("%q, %v", got, err)
	}
}
