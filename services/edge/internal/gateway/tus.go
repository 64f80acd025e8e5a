package gateway

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The paths of uploads, which speak tus 1.0.0 with its extensions creation,
// checksum, expiration and termination: https://tus.io/protocols/resumable-upload
const (
	UploadsPath = "/v1/registry/uploads"
	UploadPath  = "/v1/registry/uploads/{upload}"
)

const (
	tusVersion        = "1.0.0"
	contentTypeAppend = "application/offset+octet-stream"
)

// checkAppend refuses a body that is said to be something else than what tus
// appends.
func checkAppend(mediaType string, err error) error {
	if err != nil || mediaType != contentTypeAppend {
		return apierr.New(apierr.UnsupportedMediaType, "the body must be a part of the file: send Content-Type: %s", contentTypeAppend)
	}
	return nil
}

// tusOffer says what is spoken, to those who ask with OPTIONS.
func tusOffer(header http.Header, r *http.Request) {
	if r.Method != http.MethodOptions || r.URL.Path != UploadsPath && !strings.HasPrefix(r.URL.Path, UploadsPath+"/") {
		return
	}
	header.Set("Tus-Resumable", tusVersion)
	header.Set("Tus-Version", tusVersion)
	header.Set("Tus-Extension", "creation,checksum,expiration,termination")
	header.Set("Tus-Checksum-Algorithm", "sha1,sha256,crc32c")
}

// tus answers the requests that clients of tus make, and reports whether this was
// one: what is asked as JSON is answered as other calls are.
func (h *handler) tus(w *writer, r *http.Request, rt *route) bool {
	speaks := r.Header.Get("Tus-Resumable") != ""
	var answer func(*writer, *http.Request) error
	switch {
	case rt.rpc == registryv1.ArtifactService_CreateUpload_FullMethodName:
		answer = h.tusCreate
	case rt.rpc == registryv1.ArtifactService_AppendUpload_FullMethodName:
		answer = h.tusAppend
	case rt.rpc == registryv1.ArtifactService_GetUpload_FullMethodName && r.Method == http.MethodHead:
		answer = h.tusHead
	case rt.rpc == registryv1.ArtifactService_DeleteUpload_FullMethodName && speaks:
		answer = h.tusDelete
	default:
		return false
	}
	w.Header().Set("Tus-Resumable", tusVersion)
	err := noQuery(r)
	if v := r.Header.Get("Tus-Resumable"); err == nil && v != tusVersion {
		w.Header().Set("Tus-Version", tusVersion)
		err = apierr.New(apierr.FailedPrecondition, "uploads speak tus %s: send Tus-Resumable: %s", tusVersion, tusVersion)
	}
	if err == nil {
		err = answer(w, r)
	}
	if err != nil {
		writeError(w, r, err)
	}
	return true
}

func (h *handler) tusCreate(w *writer, r *http.Request) error {
	size, err := byteCount(r.Header, "Upload-Length")
	if err != nil {
		return err
	}
	meta, err := uploadMetadata(r.Header.Get("Upload-Metadata"))
	if err != nil {
		return err
	}
	name := meta["filename"]
	if name == "" {
		name = meta["name"]
	}
	var header metadata.MD
	resp, err := h.artifacts.CreateUpload(h.callContext(r.Context(), r.Header),
		&registryv1.CreateUploadRequest{Name: name, SizeBytes: size, Sha256: meta["sha256"]}, grpc.Header(&header))
	copyHeader(w.Header(), header)
	if err != nil {
		return err
	}
	w.Header().Set("Location", UploadsPath+"/"+url.PathEscape(resp.GetUpload().GetId()))
	h.tusAnswer(w, resp.GetUpload(), http.StatusCreated)
	return nil
}

// tusAnswer tells how far the upload is.
func (h *handler) tusAnswer(w *writer, u *registryv1.Upload, status int) {
	header := w.Header()
	header.Set("Upload-Offset", strconv.FormatInt(u.GetOffset(), 10))
	header.Set("Upload-Length", strconv.FormatInt(u.GetSizeBytes(), 10))
	header.Set("Upload-Expires", u.GetExpireTime().AsTime().Format(http.TimeFormat))
	w.WriteHeader(status)
}

func (h *handler) tusHead(w *writer, r *http.Request) error {
	var header metadata.MD
	resp, err := h.artifacts.GetUpload(h.callContext(r.Context(), r.Header), &registryv1.GetUploadRequest{Upload: uploadID(r)}, grpc.Header(&header))
	copyHeader(w.Header(), header)
	if err != nil {
		return err
	}
	h.tusAnswer(w, resp.GetUpload(), http.StatusOK)
	return nil
}

func (h *handler) tusDelete(w *writer, r *http.Request) error {
	var header metadata.MD
	_, err := h.artifacts.DeleteUpload(h.callContext(r.Context(), r.Header), &registryv1.DeleteUploadRequest{Upload: uploadID(r)}, grpc.Header(&header))
	copyHeader(w.Header(), header)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// tusAppend sends the body on as it comes: no faster than it is kept.
func (h *handler) tusAppend(w *writer, r *http.Request) error {
	b, ok := r.Body.(*body)
	if !ok {
		return apierr.New(apierr.Internal, "the body is not bounded")
	}
	first, err := appendStart(r)
	if err != nil {
		return err
	}
	ctx, cancel := h.streamContext(r)
	defer cancel(nil)
	call, err := h.artifacts.AppendUpload(ctx)
	if err != nil {
		return err
	}
	b.streamed()
	if err = sendPart(call, b, first); err != nil {
		cancel(err) // the registry waits for more, and would be waited for below
	}
	var resp *registryv1.AppendUploadResponse
	if err == nil {
		resp, err = call.CloseAndRecv()
	}
	header, _ := call.Header() // without one the answer lacks it, which is all
	copyHeader(w.Header(), header)
	if err != nil {
		writeError(w, r, err)
	} else {
		h.tusAnswer(w, resp.GetUpload(), http.StatusNoContent)
	}
	_ = w.FlushError() // a client that is gone needs no answer
	read := make(chan struct{})
	close(read)
	b.leave(read)
	return nil
}

func appendStart(r *http.Request) (*registryv1.AppendUploadRequest, error) {
	offset, err := byteCount(r.Header, "Upload-Offset")
	if err != nil {
		return nil, err
	}
	if r.ContentLength < 0 {
		return nil, apierr.Invalid("Content-Length", "Content-Length must say how many bytes come")
	}
	if r.Header.Get("Content-Type") == "" {
		return nil, checkAppend("", nil)
	}
	check, err := uploadChecksum(r.Header.Get("Upload-Checksum"))
	if err != nil {
		return nil, err
	}
	return &registryv1.AppendUploadRequest{Upload: uploadID(r), Offset: offset, SizeBytes: r.ContentLength, Checksum: check}, nil
}

// sendPart sends the body on. The error is of the body: what is wrong with the
// call is received.
func sendPart(call grpc.ClientStreamingClient[registryv1.AppendUploadRequest, registryv1.AppendUploadResponse], b *body, req *registryv1.AppendUploadRequest) error {
	for {
		if call.Send(req) != nil {
			return nil //nolint:nilerr // why is received
		}
		// A message within the process may be kept until it is received.
		room := make([]byte, restorePiece)
		n, err := io.ReadFull(b, room)
		req = &registryv1.AppendUploadRequest{Data: room[:n]}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && b.whole:
			if n > 0 {
				_ = call.Send(req) // why not is received
			}
			return nil
		case err != nil: // what came is of use all the same
			_ = call.Send(req)
			return bodyError(err)
		}
	}
}

// uploadID is the last part of the path; the contract says what it may be.
func uploadID(r *http.Request) string {
	path := r.URL.EscapedPath()
	last := path[strings.LastIndexByte(path, '/')+1:]
	if id, err := url.PathUnescape(last); err == nil {
		return id
	}
	return last
}

func byteCount(header http.Header, name string) (int64, error) {
	n, err := strconv.ParseInt(header.Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0, apierr.Invalid(name, "%s must be a number of bytes", name)
	}
	return n, nil
}

// The bounds of Upload-Metadata.
const (
	maxUploadMetadata = 4096
	maxMetadataPairs  = 32
)

// uploadMetadata reads pairs of a key and a value in base64.
func uploadMetadata(text string) (map[string]string, error) {
	out := make(map[string]string)
	if text == "" {
		return out, nil
	}
	pairs := strings.Split(text, ",")
	if len(text) > maxUploadMetadata || len(pairs) > maxMetadataPairs {
		return nil, apierr.Invalid("Upload-Metadata", "Upload-Metadata may have %d bytes and %d pairs", maxUploadMetadata, maxMetadataPairs)
	}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		raw, err := base64.StdEncoding.DecodeString(value)
		if _, twice := out[key]; err != nil || key == "" || twice || !utf8.Valid(raw) {
			return nil, apierr.Invalid("Upload-Metadata", "Upload-Metadata must be keys, each once, with values in base64")
		}
		out[key] = string(raw)
	}
	return out, nil
}

// uploadChecksum reads the name of an algorithm and a value in base64.
func uploadChecksum(text string) (*registryv1.Checksum, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	name, value, _ := strings.Cut(text, " ")
	raw, err := base64.StdEncoding.DecodeString(value)
	algorithm, size := registryv1.Checksum_ALGORITHM_UNSPECIFIED, 0
	switch name {
	case "sha256":
		algorithm, size = registryv1.Checksum_ALGORITHM_SHA256, 32
	case "sha1":
		algorithm, size = registryv1.Checksum_ALGORITHM_SHA1, 20
	case "crc32c":
		algorithm, size = registryv1.Checksum_ALGORITHM_CRC32C, 4
	}
	if err != nil || size == 0 || len(raw) != size {
		return nil, apierr.Invalid("Upload-Checksum", "Upload-Checksum must be sha256, sha1 or crc32c and a value in base64")
	}
	return &registryv1.Checksum{Algorithm: algorithm, Value: raw}, nil
}
