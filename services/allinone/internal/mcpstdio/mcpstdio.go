// Package mcpstdio is a server of the Model Context Protocol over standard input and
// output, for programs on a desktop that start their servers themselves. It has no
// tools of its own: what is asked of it, it asks a gateway, over Streamable HTTP, by
// the official SDK's client. It knows nothing of what the tools do. Start reading at
// Serve.
package mcpstdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// probeTime bounds how long the gateway may take to say who it is before the client is
// answered without it.
const probeTime = 5 * time.Second

// Options is what a server works with; all fields but Transport are needed.
type Options struct {
	// Endpoint is the URL of the gateway's protocol, and Key the secret it is shown.
	Endpoint, Key string
	// Version names the build.
	Version string
	// Timeout bounds one call.
	Timeout time.Duration
	// In and Out carry the messages, one a line; nothing else may write to Out.
	In  io.Reader
	Out io.Writer
	// Told is where people read what is wrong.
	Told io.Writer
	// Transport sends requests; nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Refused reads an answer that is a refusal of the gateway's, and leaves its body
	// to be closed by the caller.
	Refused func(*http.Response) *RefusalError
}

// Serve forwards until In ends or ctx does; what is in hand then is given up, here and
// at the gateway. It returns a *RefusalError at once where the gateway refuses the key or
// does not speak the protocol, since no client could mend that. A gateway that is away
// is no error: each call says so until it is back.
func Serve(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{opts: o, told: make(map[string]func(*mcp.ProgressNotificationParams)), ending: ctx}
	s.gateway = newGateway(o, s.progressed)
	defer s.gateway.close()
	instructions, err := s.probe(ctx)
	if err != nil {
		return err
	}
	m := mcp.NewServer(&mcp.Implementation{Name: "poterne", Title: "Poterne", Version: o.Version}, &mcp.ServerOptions{
		Instructions: instructions, Logger: slog.New(slog.DiscardHandler),
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
	})
	m.AddReceivingMiddleware(s.forward)
	err = m.Run(ctx, &mcp.IOTransport{Reader: &input{Reader: o.In, ended: cancel}, Writer: output{o.Out}})
	if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		return fmt.Errorf("the client's messages: %w", err)
	}
	return nil
}

type server struct {
	opts    Options
	gateway *gateway
	// ending ends when the client is gone, or the process is to end: the SDK lets
	// calls in hand go on then.
	ending context.Context //nolint:containedctx // it is the server's own life

	mu   sync.Mutex
	told map[string]func(*mcp.ProgressNotificationParams) // by our own token
	last atomic.Int64
}

// probe asks the gateway who it is, and returns what a client may tell its model.
func (s *server) probe(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	session, err := s.gateway.session(ctx)
	if err == nil {
		return session.InitializeResult().Instructions, nil
	}
	if r, ok := errors.AsType[*RefusalError](err); ok && r.lasting() {
		return "", r
	}
	fmt.Fprintf(s.opts.Told, "poterne: %v; calls are answered when it is back\n", reasonOf(err, s.opts.Endpoint))
	return "", nil
}

// forward has the gateway answer what is asked of tools; the rest concerns this
// connection, and is answered here.
func (s *server) forward(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		switch r := req.(type) {
		case *mcp.ListToolsRequest:
			return s.list(ctx, r)
		case *mcp.CallToolRequest:
			return s.call(ctx, r)
		default:
			return next(ctx, method, req)
		}
	}
}

// codeAway is a code that JSON-RPC leaves to servers.
const codeAway = -32000

func (s *server) list(ctx context.Context, req *mcp.ListToolsRequest) (mcp.Result, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	params := &mcp.ListToolsParams{}
	if req.Params != nil {
		params.Cursor = req.Params.Cursor
	}
	result, err := ask(ctx, s.gateway, func(session *mcp.ClientSession) (*mcp.ListToolsResult, error) {
		return session.ListTools(ctx, params)
	})
	if err != nil {
		if theirs, ok := answered(err); ok {
			return nil, theirs
		}
		return nil, &jsonrpc.Error{Code: codeAway, Message: reasonOf(err, s.opts.Endpoint).Error()}
	}
	return result, nil
}

// call forwards a call of a tool. That the gateway cannot be asked is an answer for
// the model to read, as its refusals are.
func (s *server) call(ctx context.Context, req *mcp.CallToolRequest) (mcp.Result, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	params := &mcp.CallToolParams{Name: req.Params.Name}
	if len(req.Params.Arguments) > 0 {
		params.Arguments = req.Params.Arguments
	}
	if token := req.Params.GetProgressToken(); token != nil {
		ours, forget := s.tell(ctx, req.Session, token)
		defer forget()
		params.SetProgressToken(ours)
	}
	result, err := ask(ctx, s.gateway, func(session *mcp.ClientSession) (*mcp.CallToolResult, error) {
		return session.CallTool(ctx, params)
	})
	if err != nil {
		if theirs, ok := answered(err); ok {
			return nil, theirs
		}
		return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: reasonOf(err, s.opts.Endpoint).Error()}}}, nil
	}
	return result, nil
}

// bounded is ctx within the time of one call and the life of the server.
func (s *server) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	unhook := context.AfterFunc(s.ending, cancel)
	return ctx, func() { unhook(); cancel() }
}

// tell has a client's progress be told, until forget, under a token of ours: two
// clients' tokens may be alike.
func (s *server) tell(ctx context.Context, to *mcp.ServerSession, token any) (ours string, forget func()) {
	ours = strconv.FormatInt(s.last.Add(1), 10)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[ours] = func(p *mcp.ProgressNotificationParams) {
		// A client that does not read has gone, which ends everything.
		_ = to.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: p.Progress, Total: p.Total, Message: p.Message})
	}
	return ours, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.told, ours)
	}
}

func (s *server) progressed(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
	ours, _ := r.Params.ProgressToken.(string)
	s.mu.Lock()
	tell := s.told[ours]
	s.mu.Unlock()
	if tell != nil {
		tell(r.Params)
	}
}

// input is what the client sends; ended is called when there is no more.
type input struct {
	io.Reader
	ended func()
}

// Read implements io.Reader.
func (i *input) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err != nil {
		i.ended()
	}
	return n, err
}

// Close implements io.Closer: whoever gave the stream closes it.
func (i *input) Close() error { return nil }

type output struct{ io.Writer }

// Close implements io.Closer, likewise.
func (output) Close() error { return nil }
