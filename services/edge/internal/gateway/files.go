package gateway

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The paths of files whose bodies are bytes.
const (
	FilesPath       = "/v1/files"
	FileContentPath = "/v1/files/{file_id}/content"
)

// The bounds of a form that brings a file: of its parts, and of all of it that is not
// the file, in bytes.
const (
	maxFormParts = 16
	maxFormText  = 64 << 10
	maxFormValue = 256
)

// checkForm refuses a body that is said to be no form.
func checkForm(r *http.Request) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return apierr.New(apierr.UnsupportedMediaType, "the body must not be compressed (Content-Encoding)")
	}
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" || params["boundary"] == "" || len(params["boundary"]) > 70 {
		return apierr.New(apierr.UnsupportedMediaType, "the body must be a form with a file: send Content-Type: multipart/form-data with its boundary")
	}
	return nil
}

// uploadFile answers POST /v1/files. The file is sent on as it comes.
func (h *handler) uploadFile(w *writer, r *http.Request) {
	if err := noQuery(r); err != nil {
		writeError(w, r, err)
		return
	}
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		writeError(w, r, checkForm(r))
		return
	}
	upload(h, w, r, func(ctx context.Context) (grpc.ClientStreamingClient[edgev1.UploadFileRequest, edgev1.File], error) {
		return h.files.UploadFile(ctx)
	}, func(call grpc.ClientStreamingClient[edgev1.UploadFileRequest, edgev1.File], b *body) error {
		return sendForm(b, params["boundary"], call.Send)
	}, func(f *edgev1.File) proto.Message { return f })
}

// textReader bounds what is read of a form besides its file.
type textReader struct {
	io.Reader
	left int64 // negative: no bound
}

var errFormText = errors.New("gateway: the form has too much besides its file")

// Read reads within the bound.
func (t *textReader) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, errFormText
	}
	if t.left > 0 {
		p = p[:min(int64(len(p)), t.left)]
	}
	n, err := t.Reader.Read(p)
	if t.left > 0 {
		t.left -= int64(n)
	}
	return n, err
}

// form is a form on its way.
type form struct {
	in    *textReader
	parts *multipart.Reader
	send  func(*edgev1.UploadFileRequest) error
	text  int64 // what may still come besides the file
	file  bool  // it has come
	seen  map[string]bool
	after *edgev1.FileExpiresAfter
}

// sendForm sends on a form (RFC 7578). The error is of the form: what is wrong with
// the call is received.
func sendForm(in io.Reader, boundary string, send func(*edgev1.UploadFileRequest) error) error {
	t := &textReader{Reader: in}
	f := &form{in: t, parts: multipart.NewReader(t, boundary), send: send, text: maxFormText, seen: make(map[string]bool)}
	err := f.all()
	if errors.Is(err, errSent) {
		return nil
	}
	if err == nil && !f.file {
		err = apierr.Invalid("file", "file: is missing")
	}
	if err == nil && f.after != nil {
		_ = send(&edgev1.UploadFileRequest{ExpiresAfter: f.after}) // why not is received
	}
	return err
}

// errSent says that the call takes no more.
var errSent = errors.New("gateway: the call has ended")

func (f *form) all() error {
	for range maxFormParts {
		f.in.left = f.text
		p, err := f.parts.NextRawPart()
		f.text = f.in.left
		if err == io.EOF { // a body that ends before the form does gives one that is wrapped
			return nil
		}
		if err != nil {
			return formError(err)
		}
		if err := f.part(p); err != nil {
			return err
		}
	}
	return apierr.New(apierr.InvalidArgument, "the form has more than %d parts", maxFormParts)
}

func (f *form) part(p *multipart.Part) error {
	name := p.FormName()
	if f.seen[name] {
		return apierr.Invalid("body", "the form has a part twice")
	}
	f.seen[name] = true
	if name == "file" {
		return f.sendFile(p)
	}
	f.in.left = f.text
	value, err := io.ReadAll(io.LimitReader(p, maxFormValue+1))
	f.text = f.in.left
	if err != nil {
		return formError(err)
	}
	if len(value) > maxFormValue {
		return apierr.Invalid("body", "a part of the form is longer than %d bytes", maxFormValue)
	}
	switch text := string(value); name {
	case "purpose":
		if text != "batch" {
			return apierr.Invalid(name, "purpose: must be batch")
		}
		return f.pass(&edgev1.UploadFileRequest{Purpose: text})
	case "expires_after[anchor]", "expires_after[seconds]":
		return f.expires(name, text)
	default:
		return apierr.Invalid("body", "the form has a part that this call does not have: it has file, purpose, expires_after[anchor] and expires_after[seconds]")
	}
}

// expires notes a half of when the file ends: both are sent on together.
func (f *form) expires(name, text string) error {
	if f.after == nil {
		f.after = new(edgev1.FileExpiresAfter)
	}
	if name == "expires_after[anchor]" {
		f.after.Anchor = strings.ToValidUTF8(text, "")
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return apierr.Invalid(name, "%s: must be a number of seconds", name)
	}
	f.after.Seconds = n
	return nil
}

func (f *form) pass(req *edgev1.UploadFileRequest) error {
	if f.send(req) != nil {
		return errSent
	}
	return nil
}

// sendFile sends the file on; its size is for the service to bound.
func (f *form) sendFile(p *multipart.Part) error {
	f.file = true
	f.in.left = -1
	req := &edgev1.UploadFileRequest{Filename: fileLabel(p.FileName())}
	for {
		// A message within the process may be kept until it is received.
		room := make([]byte, restorePiece)
		n, err := io.ReadFull(p, room)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && wholePart(p)
		if err != nil && !ended {
			return formError(err)
		}
		req.Data = room[:n]
		if err := f.pass(req); err != nil || ended {
			return err
		}
		req = new(edgev1.UploadFileRequest)
	}
}

// wholePart reports whether a part that gave less than was asked for has ended at its
// boundary, and not with the body.
func wholePart(p *multipart.Part) bool {
	_, err := p.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// fileLabel is a name as it may be in a message.
func fileLabel(name string) string {
	name = strings.ToValidUTF8(name, "")
	return strings.ToValidUTF8(name[:min(len(name), 255)], "")
}

func formError(err error) error {
	if errors.Is(err, errFormText) || errors.Is(err, multipart.ErrMessageTooLarge) {
		return apierr.New(apierr.PayloadTooLarge, "the form has more than %d bytes besides its file", maxFormText)
	}
	return bodyError(err)
}

// fileContent answers GET /v1/files/{file_id}/content.
func (h *handler) fileContent(w *writer, r *http.Request) {
	if err := noQuery(r); err != nil {
		writeError(w, r, err)
		return
	}
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), FilesPath+"/"), "/content")
	id, err := url.PathUnescape(path)
	if err != nil {
		writeError(w, r, apierr.New(apierr.InvalidArgument, "the path cannot be read"))
		return
	}
	w.Header().Set("Content-Disposition", "attachment")
	download(h, w, r, contentTypeBytes, func(ctx context.Context) (pieces[*edgev1.GetFileContentResponse], error) {
		return h.files.GetFileContent(ctx, &edgev1.GetFileContentRequest{FileId: id})
	})
}
