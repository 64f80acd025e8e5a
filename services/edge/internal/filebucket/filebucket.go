// Package filebucket keeps pieces of files in a bucket of S3's kind, each as one object:
// <prefix><file's id>/<number>. It knows nothing of what files are for. Start reading at
// Open.
package filebucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/services/edge/internal/files"
)

const (
	// retries is how often a request is made again that the server did not answer.
	retries = 3
	// maxObject bounds what is read of an object, in bytes: pieces are smaller.
	maxObject = 16 << 20
)

// Bucket is files.Contents. It is safe for concurrent use, also by several edges.
type Bucket struct {
	core           *minio.Core
	bucket, prefix string
}

var _ files.Contents = (*Bucket)(nil)

// Open returns the contents of the bucket that cfg names, which must be there. It asks
// the server nothing yet.
func Open(cfg files.BucketConfig) (files.Contents, error) {
	u, err := url.Parse(cfg.URL())
	if err != nil {
		return nil, errors.New("files: the bucket's endpoint is not a URL")
	}
	lookup := minio.BucketLookupPath
	if cfg.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKeyID, cfg.SecretAccessKey.Reveal(), cfg.SessionToken.Reveal()),
		Secure: u.Scheme == "https", Transport: plainhttp.Transport(transport), Region: cfg.Region, BucketLookup: lookup, MaxRetries: retries,
	})
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return &Bucket{core: core, bucket: cfg.Name, prefix: cfg.Prefix}, nil
}

func (b *Bucket) key(id string, seq int64) string {
	return b.prefix + id + "/" + strconv.FormatInt(seq, 10)
}

// Put implements files.Contents: an object is there when the server says so, and whole.
func (b *Bucket) Put(ctx context.Context, id string, seq int64, data []byte) error {
	_, err := b.core.PutObject(ctx, b.bucket, b.key(id, seq), bytes.NewReader(data), int64(len(data)), "", "", minio.PutObjectOptions{
		ContentType: "application/octet-stream",
	})
	return b.failure(err)
}

// Get implements files.Contents.
func (b *Bucket) Get(ctx context.Context, id string, seq int64) ([]byte, error) {
	body, _, _, err := b.core.GetObject(ctx, b.bucket, b.key(id, seq), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failure(err)
	}
	data, err := io.ReadAll(io.LimitReader(body, maxObject))
	return data, b.failure(errors.Join(err, body.Close()))
}

// Remove implements files.Contents.
func (b *Bucket) Remove(ctx context.Context, id string, pieces int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	names := make(chan minio.ObjectInfo)
	go func() {
		defer close(names)
		for seq := range pieces {
			select {
			case names <- minio.ObjectInfo{Key: b.key(id, seq)}:
			case <-ctx.Done():
				return
			}
		}
	}()
	var failed error
	for e := range b.core.RemoveObjects(ctx, b.bucket, names, minio.RemoveObjectsOptions{}) {
		if err := b.failure(e.Err); err != nil && !errors.Is(err, files.ErrNotFound) && failed == nil {
			failed = err
		}
	}
	return errors.Join(failed, ctx.Err())
}

func (b *Bucket) failure(err error) error {
	if err == nil {
		return nil
	}
	if r := minio.ToErrorResponse(err); r.Code == "NoSuchKey" || r.StatusCode == http.StatusNotFound && r.Code != "NoSuchBucket" {
		return files.ErrNotFound
	}
	return fmt.Errorf("files: bucket %s: %w", b.bucket, err)
}
