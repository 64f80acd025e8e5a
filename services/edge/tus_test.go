package edge_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge"
)

// fakeArtifacts keeps one upload.
type fakeArtifacts struct {
	registryv1.UnimplementedArtifactServiceServer

	mu       sync.Mutex
	created  *registryv1.CreateUploadRequest
	checksum *registryv1.Checksum
	data     []byte
	largest  int // message
}

func (f *fakeArtifacts) upload() *registryv1.Upload {
	return &registryv1.Upload{
		Id: "u1", Name: f.created.GetName(), SizeBytes: f.created.GetSizeBytes(), Offset: int64(len(f.data)),
		ExpireTime: timestamppb.New(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
}

func (f *fakeArtifacts) CreateUpload(_ context.Context, req *registryv1.CreateUploadRequest) (*registryv1.CreateUploadResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetSha256() == strings.Repeat("a", 64) {
		return nil, apierr.New(apierr.AlreadyExists, "it is there").WithField("sha256")
	}
	f.created = req
	return &registryv1.CreateUploadResponse{Upload: f.upload()}, nil
}

func (f *fakeArtifacts) GetUpload(_ context.Context, req *registryv1.GetUploadRequest) (*registryv1.GetUploadResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetUpload() != "u1" || f.created == nil {
		return nil, apierr.New(apierr.NotFound, "there is no upload")
	}
	return &registryv1.GetUploadResponse{Upload: f.upload()}, nil
}

func (f *fakeArtifacts) DeleteUpload(context.Context, *registryv1.DeleteUploadRequest) (*registryv1.DeleteUploadResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = nil
	return &registryv1.DeleteUploadResponse{}, nil
}

func (f *fakeArtifacts) AppendUpload(stream grpc.ClientStreamingServer[registryv1.AppendUploadRequest, registryv1.AppendUploadResponse]) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetOffset() != int64(len(f.data)) {
		return apierr.New(apierr.Conflict, "the upload goes on elsewhere").WithField("offset")
	}
	f.checksum = req.GetChecksum()
	for {
		f.data = append(f.data, req.GetData()...)
		f.largest = max(f.largest, len(req.GetData()))
		if req, err = stream.Recv(); errors.Is(err, io.EOF) {
			return stream.SendAndClose(&registryv1.AppendUploadResponse{Upload: f.upload()})
		} else if err != nil {
			return err
		}
	}
}

// tus makes a request as clients of the protocol do.
func (g *gate) tus(method, path string, header map[string]string, body io.Reader) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp
}

func TestUploadsSpeakTus(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	const uploads = "/v1/registry/uploads"
	text := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	offer := g.tus(http.MethodOptions, uploads, nil, nil)
	if offer.StatusCode != http.StatusNoContent || offer.Header.Get("Tus-Version") != "1.0.0" || !strings.Contains(offer.Header.Get("Tus-Extension"), "checksum") {
		t.Errorf("offers %d %v", offer.StatusCode, offer.Header)
	}
	large := bytes.Repeat([]byte("0123456789"), 900_000) // more than a body may have
	created := g.tus(http.MethodPost, uploads, map[string]string{
		"Upload-Length": strconv.Itoa(len(large)), "Upload-Metadata": "filename " + text("m.gguf") + ",sha256 " + text(strings.Repeat("0", 64)) + ",other",
	}, nil)
	if created.StatusCode != http.StatusCreated || created.Header.Get("Location") != uploads+"/u1" || created.Header.Get("Tus-Resumable") != "1.0.0" ||
		created.Header.Get("Upload-Expires") != "Wed, 02 Jan 2030 03:04:05 GMT" || created.Header.Get("X-Request-Id") == "" {
		t.Errorf("created: %d %v", created.StatusCode, created.Header)
	}
	if c := g.artifacts.created; c.GetName() != "m.gguf" || c.GetSizeBytes() != int64(len(large)) || c.GetSha256() != strings.Repeat("0", 64) {
		t.Errorf("created %v", c)
	}
	sum := sha1.Sum(large)
	part := map[string]string{
		"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream", "Upload-Checksum": "sha1 " + base64.StdEncoding.EncodeToString(sum[:]),
	}
	sent := g.tus(http.MethodPatch, uploads+"/u1", part, bytes.NewReader(large))
	if sent.StatusCode != http.StatusNoContent || sent.Header.Get("Upload-Offset") != strconv.Itoa(len(large)) || !bytes.Equal(g.artifacts.data, large) {
		t.Errorf("sent: %d %v, %d bytes", sent.StatusCode, sent.Header, len(g.artifacts.data))
	}
	if c := g.artifacts.checksum; c.GetAlgorithm() != registryv1.Checksum_ALGORITHM_SHA1 || !bytes.Equal(c.GetValue(), sum[:]) {
		t.Errorf("checked by %v", c)
	}
	if g.artifacts.largest > 256<<10 {
		t.Errorf("a message has %d bytes", g.artifacts.largest)
	}
	head := g.tus(http.MethodHead, uploads+"/u1", nil, nil)
	if head.StatusCode != http.StatusOK || head.Header.Get("Upload-Offset") != strconv.Itoa(len(large)) || head.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("head: %d %v", head.StatusCode, head.Header)
	}
	if code, body, err := g.raw(http.MethodGet, uploads+"/u1", "", nil); err != nil || code != http.StatusOK || !strings.Contains(body, `"m.gguf"`) {
		t.Errorf("%d %s %v", code, body, err)
	}
	// A short one: whoever is refused in the middle of a long body may hear nothing.
	if resp := g.tus(http.MethodPatch, uploads+"/u1", part, strings.NewReader("x")); resp.StatusCode != http.StatusConflict {
		t.Errorf("at the wrong offset: %d", resp.StatusCode)
	}
	if resp := g.tus(http.MethodDelete, uploads+"/u1", nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("deleted: %d", resp.StatusCode)
	}
	if resp := g.tus(http.MethodHead, uploads+"/u1", nil, nil); resp.StatusCode != http.StatusNotFound || resp.Header.Get("Tus-Resumable") != "1.0.0" {
		t.Errorf("head of what is gone: %d", resp.StatusCode)
	}
}

func TestBadTusRequests(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	const uploads = "/v1/registry/uploads"
	const partType = "application/offset+octet-stream"
	for name, tt := range map[string]struct {
		method, path string
		header       map[string]string
		body         io.Reader
		code         int
	}{
		"another version":      {http.MethodPost, uploads, map[string]string{"Tus-Resumable": "0.2.2", "Upload-Length": "5"}, nil, http.StatusBadRequest},
		"no length":            {http.MethodPost, uploads, nil, nil, http.StatusBadRequest},
		"a negative length":    {http.MethodPost, uploads, map[string]string{"Upload-Length": "-1"}, nil, http.StatusBadRequest},
		"a query":              {http.MethodPost, uploads + "?x=1", map[string]string{"Upload-Length": "5"}, nil, http.StatusBadRequest},
		"metadata":             {http.MethodPost, uploads, map[string]string{"Upload-Length": "5", "Upload-Metadata": "a !"}, nil, http.StatusBadRequest},
		"much metadata":        {http.MethodPost, uploads, map[string]string{"Upload-Length": "5", "Upload-Metadata": strings.Repeat("a", 5000)}, nil, http.StatusBadRequest},
		"what is there":        {http.MethodPost, uploads, map[string]string{"Upload-Length": "5", "Upload-Metadata": "sha256 " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", 64)))}, nil, http.StatusConflict},
		"no offset":            {http.MethodPatch, uploads + "/u1", map[string]string{"Content-Type": partType}, strings.NewReader("x"), http.StatusBadRequest},
		"another type":         {http.MethodPatch, uploads + "/u1", map[string]string{"Upload-Offset": "0", "Content-Type": "application/json"}, strings.NewReader("x"), http.StatusUnsupportedMediaType},
		"no type":              {http.MethodPatch, uploads + "/u1", map[string]string{"Upload-Offset": "0"}, strings.NewReader("x"), http.StatusUnsupportedMediaType},
		"no length of a part":  {http.MethodPatch, uploads + "/u1", map[string]string{"Upload-Offset": "0", "Content-Type": partType}, io.MultiReader(strings.NewReader("x")), http.StatusBadRequest},
		"an unknown algorithm": {http.MethodPatch, uploads + "/u1", map[string]string{"Upload-Offset": "0", "Content-Type": partType, "Upload-Checksum": "md5 AAAA"}, strings.NewReader("x"), http.StatusBadRequest},
		"a short checksum":     {http.MethodPatch, uploads + "/u1", map[string]string{"Upload-Offset": "0", "Content-Type": partType, "Upload-Checksum": "sha1 AAAA"}, strings.NewReader("x"), http.StatusBadRequest},
		"a strange id":         {http.MethodPatch, uploads + "/U%2F1", map[string]string{"Upload-Offset": "0", "Content-Type": partType}, strings.NewReader("x"), http.StatusBadRequest},
	} {
		resp := g.tus(tt.method, tt.path, tt.header, tt.body)
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.code || !strings.Contains(string(b), `"code"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
}

// A part that is broken off is answered at once, and what came of it was sent on.
func TestAnAppendThatIsBrokenIsGivenUp(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	_, resp := g.half("PATCH /v1/registry/uploads/u1 HTTP/1.1\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"+
		"Tus-Resumable: 1.0.0\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer "+g.key, "8\r\n12345678\r\nno chunk\r\n")
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %d", resp.StatusCode)
	}
}
