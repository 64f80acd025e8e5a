package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/plainhttp"
)

// BucketConfig is how a bucket is reached.
type BucketConfig struct {
	// Bucket is its name; it must be there.
	Bucket string `yaml:"bucket"`
	// Prefix begins the keys of all objects, such as poterne/.
	Prefix string `yaml:"prefix"`
	// Endpoint is the server's URL; empty is AWS's in Region.
	Endpoint string `yaml:"endpoint"`
	// Region is part of the signature; us-east-1 when empty.
	Region string `yaml:"region"`
	// AccessKeyID and SecretAccessKey sign requests. SessionToken belongs to
	// temporary ones.
	AccessKeyID     string        `yaml:"access_key_id"`
	SecretAccessKey config.Secret `yaml:"secret_access_key"`
	SessionToken    config.Secret `yaml:"session_token"`
	// VirtualHost puts the bucket's name into the host instead of the path.
	VirtualHost bool `yaml:"virtual_host"`
}

// Bucket keeps artifacts in a bucket: each is one object, of a multipart upload.
// It is safe for concurrent use.
type Bucket struct {
	core   minio.Core
	bucket string
	prefix string
}

// minS3Part is the least that a part may have that is not the last.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const minS3Part = 5 << 20

// NewBucket returns a store in the bucket. It asks the server nothing yet.
func NewBucket(cfg BucketConfig) (*Bucket, error) {
	region := cfg.Region
	if region == "" {
		region = "us-east-1"
	}
	endpoint := cfg.Endpoint
	if endpoint == "" {
		endpoint = "https://s3." + region + ".amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("artifacts: the bucket's endpoint is not a URL")
	}
	lookup := minio.BucketLookupPath
	if cfg.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, fmt.Errorf("artifacts: %w", err)
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKeyID, cfg.SecretAccessKey.Reveal(), cfg.SessionToken.Reveal()),
		Secure: u.Scheme == "https", Transport: plainhttp.Transport(transport), Region: region, BucketLookup: lookup, MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("artifacts: %w", err)
	}
	return &Bucket{core: *core, bucket: cfg.Bucket, prefix: cfg.Prefix}, nil
}

// MinPart is how many bytes a part must have that is not the last.
func (b *Bucket) MinPart() int64 { return minS3Part }

// Room is for the server to judge.
func (b *Bucket) Room(context.Context, int64) error { return nil }

// place is where the content of an upload will lie.
func place(id string) string { return "blobs/" + id }

func (b *Bucket) key(place string) string { return b.prefix + place }

// Begin begins a multipart upload.
func (b *Bucket) Begin(ctx context.Context, id string) (handle string, err error) {
	if !plain.MatchString(id) {
		return "", fmt.Errorf("artifacts: %q is no id", id)
	}
	handle, err = b.core.NewMultipartUpload(ctx, b.bucket, b.key(place(id)), minio.PutObjectOptions{ContentType: "application/octet-stream"})
	return handle, b.failure(err, id)
}

// Open returns a writer. Writers do not see each other: each try to put a part
// has a number of its own.
func (b *Bucket) Open(_ context.Context, u Upload) (Writer, error) { return objectWriter{b, u}, nil }

type objectWriter struct {
	b *Bucket
	u Upload
}

func (w objectWriter) Put(ctx context.Context, p Part, r io.Reader) (string, error) {
	in := &counted{Reader: io.LimitReader(r, p.Size)}
	// Over plain http each piece is signed with its hash; over TLS that is left out.
	part, err := w.b.core.PutObjectPart(ctx, w.b.bucket, w.b.key(place(w.u.ID)), w.u.Handle, p.Attempt, in, p.Size, minio.PutObjectPartOptions{})
	switch {
	case in.err != nil:
		return "", in.err
	case in.n < p.Size && err != nil && ctx.Err() == nil && !answered(err):
		return "", errShort(p.Size, in.n)
	case err != nil:
		return "", w.b.failure(err, w.u.ID)
	}
	return part.ETag, nil
}

// answered reports whether the server said err.
func answered(err error) bool { return minio.ToErrorResponse(err).StatusCode != 0 }

func (objectWriter) Close() error { return nil }

// Finish makes an object of the parts. Doing it again changes nothing.
func (b *Bucket) Finish(ctx context.Context, u Upload, parts []Part) (string, error) {
	key := b.key(place(u.ID))
	list := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		list[i] = minio.CompletePart{PartNumber: p.Attempt, ETag: p.Tag}
	}
	_, err := b.core.CompleteMultipartUpload(ctx, b.bucket, key, u.Handle, list, minio.PutObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != "NoSuchUpload" {
		return "", b.failure(err, u.ID)
	}
	info, statErr := b.core.StatObject(ctx, b.bucket, key, minio.StatObjectOptions{})
	switch {
	case statErr != nil:
		return "", b.failure(statErr, u.ID)
	case info.Size != u.Size:
		return "", apierr.New(apierr.Internal, "the object of the upload %s has %d bytes, not %d", u.ID, info.Size, u.Size)
	}
	return place(u.ID), nil
}

// Discard gives the multipart upload up, and removes what it was finished to.
func (b *Bucket) Discard(ctx context.Context, u Upload) error {
	if !plain.MatchString(u.ID) {
		return fmt.Errorf("artifacts: %q is no id", u.ID)
	}
	key := b.key(place(u.ID))
	handles := []string{u.Handle}
	if u.Handle == "" {
		list, err := b.core.ListMultipartUploads(ctx, b.bucket, key, "", "", "", 1000)
		if err != nil {
			return b.failure(err, u.ID)
		}
		handles = nil
		for _, found := range list.Uploads {
			if found.Key == key {
				handles = append(handles, found.UploadID)
			}
		}
	}
	for _, h := range handles {
		err := b.core.AbortMultipartUpload(ctx, b.bucket, key, h)
		if err != nil && minio.ToErrorResponse(err).Code != "NoSuchUpload" {
			return b.failure(err, u.ID)
		}
	}
	return b.Remove(ctx, place(u.ID))
}

// Read opens what lies at a place, from an offset on.
func (b *Bucket) Read(ctx context.Context, place string, offset int64) (io.ReadCloser, error) {
	opts := minio.GetObjectOptions{}
	if offset > 0 {
		if err := opts.SetRange(offset, 0); err != nil {
			return nil, fmt.Errorf("artifacts: %w", err)
		}
	}
	body, _, _, err := b.core.GetObject(ctx, b.bucket, b.key(place), opts)
	if err != nil {
		return nil, b.failure(err, place)
	}
	return body, nil
}

// Remove removes what lies at a place.
func (b *Bucket) Remove(ctx context.Context, place string) error {
	err := b.core.RemoveObject(ctx, b.bucket, b.key(place), minio.RemoveObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil
	}
	return b.failure(err, place)
}

// failure makes an error of the server one for callers. Its own words may name
// hosts and are for logs.
func (b *Bucket) failure(err error, what string) error {
	if err == nil {
		return nil
	}
	switch r := minio.ToErrorResponse(err); {
	case r.Code == "NoSuchKey", r.Code == "NoSuchUpload", r.StatusCode == http.StatusNotFound && r.Code != "NoSuchBucket":
		return errGone(what)
	case r.StatusCode == http.StatusInsufficientStorage, r.Code == "XMinioStorageFull", r.Code == "QuotaExceeded":
		return errFull(err)
	default:
		return apierr.Wrap(apierr.Unavailable, fmt.Errorf("bucket %s: %w", b.bucket, err), "the registry's store of artifacts does not answer; try again")
	}
}
