package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	"github.com/poterne/poterne/services/edge/internal/openinference"
	"github.com/poterne/poterne/services/edge/internal/tensor"
)

// headerJSONLength is how many bytes of a body are JSON, when others follow
// (the protocol's binary extension).
const headerJSONLength = "Inference-Header-Content-Length"

const contentTypeBinary = "application/octet-stream"

// tensorCall answers a call of the Open Inference Protocol; false when rt is
// none.
func (h *handler) tensorCall(w *writer, r *http.Request, rt *route) bool {
	switch rt.rpc {
	case oip.GRPCInferenceService_ModelInfer_FullMethodName:
		h.infer(w, r, rt)
	case oip.GRPCInferenceService_RepositoryIndex_FullMethodName:
		h.repositoryIndex(w, r)
	case oip.GRPCInferenceService_ModelReady_FullMethodName:
		h.modelReady(w, r, rt)
	case oip.GRPCInferenceService_ModelMetadata_FullMethodName:
		h.modelMetadata(w, r, rt)
	case oip.GRPCInferenceService_ServerLive_FullMethodName, oip.GRPCInferenceService_ServerReady_FullMethodName,
		oip.GRPCInferenceService_ServerMetadata_FullMethodName:
		h.aboutServer(w, r, rt)
	default:
		return false
	}
	return true
}

// modelOf reads model and version from the path.
func modelOf(r *http.Request, rt *route) (model, version string, err error) {
	got := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i, want := range rt.segments {
		to := map[string]*string{openinference.PathModel: &model, openinference.PathVersion: &version}[want]
		if to == nil {
			continue
		}
		if *to, err = url.PathUnescape(got[i]); err != nil {
			return "", "", apierr.New(apierr.InvalidArgument, "the path cannot be read")
		}
	}
	return model, version, nil
}

// infer answers a request with tensors, in JSON or with bytes behind it.
func (h *handler) infer(w *writer, r *http.Request, rt *route) {
	req, err := h.readTensors(r, rt)
	if err != nil {
		writeError(w, r, err)
		return
	}
	var header metadata.MD
	resp, err := h.tensors.ModelInfer(h.callContext(r.Context(), r.Header), req.Infer, grpc.Header(&header))
	copyHeader(w.Header(), header)
	if err != nil {
		writeError(w, r, err)
		return
	}
	head, tail, err := tensor.Encode(resp, req.Binary)
	if err != nil {
		writeError(w, r, err)
		return
	}
	contentType := contentTypeJSON
	if len(tail) > 0 {
		contentType = contentTypeBinary
		w.Header().Set(headerJSONLength, strconv.Itoa(len(head)))
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(head)+len(tail)))
	_, err = w.Write(head)
	if err == nil {
		_, _ = w.Write(tail) // a client that is gone needs no answer
	}
}

func (h *handler) readTensors(r *http.Request, rt *route) (*tensor.Request, error) {
	model, version, err := modelOf(r, rt)
	if err != nil {
		return nil, err
	}
	b, ok := r.Body.(*body)
	if !ok {
		return nil, apierr.New(apierr.Internal, "the body is not bounded")
	}
	data, err := b.readAll()
	if err != nil {
		return nil, err
	}
	head, tail := data, []byte(nil)
	if text := r.Header.Get(headerJSONLength); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil || int(n) > len(data) {
			return nil, apierr.Invalid(headerJSONLength, "%s: must be how many of the body's %d bytes are JSON", headerJSONLength, len(data))
		}
		head, tail = data[:n], data[n:]
	}
	req, err := h.Tensors.Decode(head, tail)
	if err != nil {
		return nil, err
	}
	req.Infer.ModelName, req.Infer.ModelVersion = model, version
	return req, nil
}

// aboutServer answers what the gateway says of itself.
func (h *handler) aboutServer(w *writer, r *http.Request, rt *route) {
	ctx := h.callContext(r.Context(), r.Header)
	switch rt.rpc {
	case oip.GRPCInferenceService_ServerLive_FullMethodName:
		resp, err := h.tensors.ServerLive(ctx, &oip.ServerLiveRequest{})
		answerTensor(w, r, nil, err, http.StatusOK, map[string]any{"live": resp.GetLive()})
	case oip.GRPCInferenceService_ServerReady_FullMethodName:
		resp, err := h.tensors.ServerReady(ctx, &oip.ServerReadyRequest{})
		answerTensor(w, r, nil, err, readyStatus(resp.GetReady()), map[string]any{"ready": resp.GetReady()})
	default:
		resp, err := h.tensors.ServerMetadata(ctx, &oip.ServerMetadataRequest{})
		answerTensor(w, r, nil, err, http.StatusOK, map[string]any{
			"name": resp.GetName(), "version": resp.GetVersion(), "extensions": resp.GetExtensions(),
		})
	}
}

// readyStatus is what clients decide by: they do not read the body.
func readyStatus(ready bool) int {
	if ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func (h *handler) modelReady(w *writer, r *http.Request, rt *route) {
	model, version, err := modelOf(r, rt)
	if err != nil {
		writeError(w, r, err)
		return
	}
	var header metadata.MD
	resp, err := h.tensors.ModelReady(h.callContext(r.Context(), r.Header), &oip.ModelReadyRequest{Name: model, Version: version}, grpc.Header(&header))
	answerTensor(w, r, header, err, readyStatus(resp.GetReady()), map[string]any{"name": model, "ready": resp.GetReady()})
}

// tensorMetadata is one tensor of a model over REST.
type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func (h *handler) modelMetadata(w *writer, r *http.Request, rt *route) {
	model, version, err := modelOf(r, rt)
	if err != nil {
		writeError(w, r, err)
		return
	}
	var header metadata.MD
	resp, err := h.tensors.ModelMetadata(h.callContext(r.Context(), r.Header), &oip.ModelMetadataRequest{Name: model, Version: version}, grpc.Header(&header))
	answerTensor(w, r, header, err, http.StatusOK, map[string]any{
		"name": resp.GetName(), "versions": resp.GetVersions(), "platform": resp.GetPlatform(),
		"inputs": described(resp.GetInputs()), "outputs": described(resp.GetOutputs()),
	})
}

// described writes lists as lists also when they are empty.
func described(list []*oip.ModelMetadataResponse_TensorMetadata) []tensorMetadata {
	out := make([]tensorMetadata, len(list))
	for i, t := range list {
		out[i] = tensorMetadata{Name: t.GetName(), Datatype: t.GetDatatype(), Shape: append([]int64{}, t.GetShape()...)}
	}
	return out
}

// indexEntry is one model of the repository's index over REST.
type indexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
}

func (h *handler) repositoryIndex(w *writer, r *http.Request) {
	req := new(oip.RepositoryIndexRequest)
	if !h.readIndexRequest(w, r, req) {
		return
	}
	var header metadata.MD
	resp, err := h.tensors.RepositoryIndex(h.callContext(r.Context(), r.Header), req, grpc.Header(&header))
	out := make([]indexEntry, len(resp.GetModels()))
	for i, m := range resp.GetModels() {
		out[i] = indexEntry{m.GetName(), m.GetVersion(), m.GetState(), m.GetReason()}
	}
	answerTensor(w, r, header, err, http.StatusOK, out)
}

// readIndexRequest reads {"ready": bool}; clients send nothing as well.
func (h *handler) readIndexRequest(w *writer, r *http.Request, req proto.Message) bool {
	return r.ContentLength == 0 || h.readBody(w, r, req)
}

// answerTensor writes an answer that is no message of tensors, or the error in
// its place.
func answerTensor(w *writer, r *http.Request, header metadata.MD, err error, status int, answer any) {
	copyHeader(w.Header(), header)
	if err != nil {
		writeError(w, r, err)
		return
	}
	data, err := json.Marshal(answer)
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", contentTypeJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that is gone needs no answer
}
