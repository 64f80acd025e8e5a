//go:build real

package content_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/registry/internal/content"
)

// envS3Gateway names the program of an S3 server that keeps buckets in a
// directory.
const envS3Gateway = "POTERNE_S3_GATEWAY_BIN"

func TestRealBucket(t *testing.T) {
	dir, addr := t.TempDir(), testkit.FreeAddr(t)
	for _, d := range []string{"data/models", "meta"} {
		check(t, os.MkdirAll(filepath.Join(dir, d), 0o700))
	}
	testkit.Start(t, testkit.Command{
		Name: "s3", Path: testkit.Binary(t, envS3Gateway, []string{"versitygw"}), Dir: dir,
		Args: []string{
			"--port", addr, "--access", "AKTEST", "--secret", "s3cret-key",
			"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"),
		},
		Ready: testkit.ReadyTCP(addr),
	})
	cfg := content.BucketConfig{
		Bucket: "models", Prefix: "poterne/", Endpoint: "http://" + addr, AccessKeyID: "AKTEST", SecretAccessKey: "s3cret-key",
	}
	s, err := content.NewBucket(cfg)
	check(t, err)
	suite(t, s)

	cfg.SecretAccessKey = "wr0ng"
	s, err = content.NewBucket(cfg)
	check(t, err)
	if _, err := s.Begin(t.Context(), "a"); apierr.ReasonOf(err) != apierr.Unavailable || strings.Contains(apierr.From(err).Message, addr) {
		t.Errorf("with the wrong key: %v", err)
	}
}
