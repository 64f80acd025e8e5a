package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// maxTensorAnswer bounds one answer of a tensor engine.
const maxTensorAnswer = 64 << 20

// streamForm is in what message an engine's streamed answers come.
type streamForm int

const (
	// streamWrapped is Triton's: ModelStreamInferResponse, with errors inside.
	streamWrapped streamForm = iota + 1
	// streamPlain is MLServer's: ModelInferResponse, with errors as the status.
	streamPlain
)

// tensorTarget is a model on a server of the Open Inference Protocol.
type tensorTarget struct {
	address        string
	tls            bool
	key            config.Secret
	model, version string
	streams        streamForm
	// repository says that the model must be loaded there, and unloaded in the end.
	repository bool
	// strict says that the server refuses what differs from what a model declares,
	// and elsewhere that it is not ours, and may change its model.
	strict, elsewhere bool
}

// tensorClient speaks the Open Inference Protocol over gRPC.
type tensorClient struct {
	textless

	target tensorTarget
	conn   *grpc.ClientConn
	rpc    oip.GRPCInferenceServiceClient
	broken error // why there is no connection to try

	mu     sync.Mutex
	loaded bool
	asked  bool        // what the model declares
	inputs declaration // read only
}

var (
	_ Engine       = (*tensorClient)(nil)
	_ TensorEngine = (*tensorClient)(nil)
)

// newTensorClient connects when it is first used.
func newTensorClient(t tensorTarget) *tensorClient {
	transport := insecure.NewCredentials()
	if t.tls {
		transport = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	c := &tensorClient{target: t}
	// The environment's proxy is for the world outside: engines are dialled as
	// they are named.
	c.conn, c.broken = grpc.NewClient("passthrough:///"+t.address, grpc.WithTransportCredentials(transport), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxTensorAnswer)))
	c.rpc = oip.NewGRPCInferenceServiceClient(c.conn)
	return c
}

// Signals are nothing: the protocol has no call that tells the load.
func (*tensorClient) Signals(context.Context) (Signals, error) { return Signals{}, nil }

// CountTokens is not for tensors.
func (*tensorClient) CountTokens(context.Context, Operation, []byte) (int, error) {
	return 0, apierr.New(apierr.Unimplemented, "an engine of tensors counts no tokens")
}

// unloadTimeout bounds the last call to a server whose model is not needed any
// more.
const unloadTimeout = 5 * time.Second

// Close unloads the model where that is ours to do, and closes the connection.
func (c *tensorClient) Close() {
	if c.conn == nil {
		return
	}
	c.mu.Lock()
	loaded := c.loaded
	c.loaded = false
	c.mu.Unlock()
	if loaded {
		ctx, cancel := context.WithTimeout(c.authorised(context.Background()), unloadTimeout)
		defer cancel()
		// A server that is gone has unloaded it too.
		_, _ = c.rpc.RepositoryModelUnload(ctx, &oip.RepositoryModelUnloadRequest{ModelName: c.target.model})
	}
	_ = c.conn.Close()
}

func (c *tensorClient) authorised(ctx context.Context) context.Context {
	if c.target.key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.target.key.Reveal())
}

// Health asks whether the server lives and the model is ready; one that is to
// be loaded is loaded first.
func (c *tensorClient) Health(ctx context.Context) error {
	if c.broken != nil {
		return c.broken
	}
	ctx = c.authorised(ctx)
	live, err := c.rpc.ServerLive(ctx, &oip.ServerLiveRequest{})
	if err != nil {
		return tensorError(ctx, err)
	}
	if !live.GetLive() {
		return apierr.New(apierr.Unavailable, "the engine is not live")
	}
	if err := c.load(ctx); err != nil {
		return err
	}
	ready, err := c.rpc.ModelReady(ctx, &oip.ModelReadyRequest{Name: c.target.model, Version: c.target.version})
	if err != nil {
		return tensorError(ctx, err)
	}
	if !ready.GetReady() {
		// A server that was started again has lost what it had loaded.
		c.forget()
		return apierr.New(apierr.Unavailable, "the model is not ready on the engine")
	}
	return nil
}

// load has the server load the model, once. Loading lasts longer than a check of
// health may: the server goes on with it, and answers a later check.
func (c *tensorClient) load(ctx context.Context) error {
	c.mu.Lock()
	done := c.loaded || !c.target.repository
	c.mu.Unlock()
	if done {
		return nil
	}
	// What is ready was loaded by an earlier check, or an earlier life of ours.
	ready, err := c.rpc.ModelReady(ctx, &oip.ModelReadyRequest{Name: c.target.model, Version: c.target.version})
	if err != nil || !ready.GetReady() {
		_, err = c.rpc.RepositoryModelLoad(ctx, &oip.RepositoryModelLoadRequest{ModelName: c.target.model})
		if err != nil {
			return tensorError(ctx, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded = true
	return nil
}

// Facts are not told by these servers; what the model declares is kept.
func (c *tensorClient) Facts(ctx context.Context) (Facts, error) {
	c.declared(ctx, false)
	return Facts{}, nil
}

// Metadata asks the server.
func (c *tensorClient) Metadata(ctx context.Context) (*oip.ModelMetadataResponse, error) {
	resp, err := c.rpc.ModelMetadata(c.authorised(ctx), &oip.ModelMetadataRequest{Name: c.target.model, Version: c.target.version})
	if err != nil {
		return nil, tensorError(ctx, err)
	}
	return resp, nil
}

// addressed is req for the model's name on the server. It shares req's tensors,
// which may be large.
func (c *tensorClient) addressed(req *oip.ModelInferRequest) *oip.ModelInferRequest {
	return &oip.ModelInferRequest{
		ModelName: c.target.model, ModelVersion: c.target.version, Id: req.GetId(), Parameters: req.GetParameters(),
		Inputs: req.GetInputs(), Outputs: req.GetOutputs(), RawInputContents: req.GetRawInputContents(),
	}
}

// Infer runs the model.
func (c *tensorClient) Infer(ctx context.Context, req *oip.ModelInferRequest) (*oip.ModelInferResponse, error) {
	if err := c.check(ctx, req); err != nil {
		return nil, err
	}
	resp, err := c.rpc.ModelInfer(c.authorised(ctx), c.addressed(req))
	if err != nil {
		return nil, c.explain(ctx, req, err)
	}
	return resp, nil
}

// InferStream runs the model on a stream of its own: the server ends that once
// it has given every answer to the one request.
func (c *tensorClient) InferStream(ctx context.Context, req *oip.ModelInferRequest, send func(*oip.ModelInferResponse) error) error {
	if err := c.check(ctx, req); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // ends the stream on every way out
	defer cancel()
	stream, err := c.conn.NewStream(c.authorised(ctx), &oip.GRPCInferenceService_ServiceDesc.Streams[0],
		oip.GRPCInferenceService_ModelStreamInfer_FullMethodName)
	if err != nil {
		return tensorError(ctx, err)
	}
	if err := stream.SendMsg(c.addressed(req)); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg says why
		return tensorError(ctx, err)
	}
	if err := stream.CloseSend(); err != nil {
		return tensorError(ctx, err)
	}
	for answered := false; ; answered = true {
		resp, err := c.target.streams.receive(stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !answered {
			return c.explain(ctx, req, err)
		}
		if err != nil {
			return tensorError(ctx, err)
		}
		if err := send(resp); err != nil {
			return err
		}
	}
}

func (f streamForm) receive(stream grpc.ClientStream) (*oip.ModelInferResponse, error) {
	if f == streamPlain {
		resp := new(oip.ModelInferResponse)
		return resp, stream.RecvMsg(resp)
	}
	resp := new(oip.ModelStreamInferResponse)
	if err := stream.RecvMsg(resp); err != nil {
		return nil, err
	}
	if text := resp.GetErrorMessage(); text != "" {
		return nil, apierr.New(apierr.EngineFailed, "the engine failed on the request: %s", clean(text))
	}
	return resp.GetInferResponse(), nil
}
