package engine

import (
	"context"
	"regexp"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	oip "github.com/poterne/poterne/proto/gen/inference"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// The kinds of engine that serve tensors.
const (
	KindMLServer = "mlserver"
	KindTriton   = "triton"
)

// TensorEngine is what an Engine that serves tensors can besides. It is safe
// for concurrent use; its errors are apierr's, or the context's. Requests are
// not changed.
type TensorEngine interface {
	// Metadata says what tensors the model takes and gives.
	Metadata(ctx context.Context) (*oip.ModelMetadataResponse, error)
	// Infer runs the model.
	Infer(ctx context.Context, req *oip.ModelInferRequest) (*oip.ModelInferResponse, error)
	// InferStream runs the model and gives each of its answers to send, whose
	// error ends the work.
	InferStream(ctx context.Context, req *oip.ModelInferRequest, send func(*oip.ModelInferResponse) error) error
}

// textless is the part of Engine that engines of tensors do not have.
type textless struct{}

func errTextless() error {
	return apierr.New(apierr.InvalidArgument, "the model takes tensors, and no text").WithField("model")
}

// Invoke refuses.
func (textless) Invoke(context.Context, Operation, []byte) (Answer, error) {
	return Answer{}, errTextless()
}

// Stream refuses.
func (textless) Stream(context.Context, Operation, []byte, Sink) (*commonv1.TokenUsage, error) {
	return nil, errTextless()
}

// Embed refuses.
func (textless) Embed(context.Context, EmbedRequest) (Embeddings, error) {
	return Embeddings{}, errTextless()
}

// TensorConfig says how a kind of tensor engine is started and reached.
type TensorConfig struct {
	// Program starts one for each model; nil when none is to be started.
	Program *Program
	// Slots is how many requests a model runs at once when its spec does not say,
	// and Queue how many more may wait.
	Slots, Queue int
	// Endpoints are servers that run already, by name.
	Endpoints map[string]TensorEndpoint
}

// TensorEndpoint is a server of the Open Inference Protocol that runs already.
type TensorEndpoint struct {
	// Address is its host:port for gRPC.
	Address string
	// TLS encrypts, and checks the server against the system's authorities.
	TLS bool
	// Key is sent as the bearer token, over TLS only. It stays in this process.
	Key config.Secret
	// Slots is how many requests of a model it is given at once.
	Slots int
	// Repository says that models are loaded and unloaded there, which must be
	// for this worker alone to do.
	Repository bool
}

// available reports whether one can be started here, or runs somewhere.
func (c TensorConfig) available(kind string) error {
	if len(c.Endpoints) > 0 {
		return nil
	}
	if c.Program == nil {
		return apierr.New(apierr.FailedPrecondition, "no %s is configured", kind)
	}
	_, err := c.Program.Path()
	return err
}

// attach plans the use of a server that runs already. The spec names it, and
// the model on it.
func (c TensorConfig) attach(m Model, name string, p *parameters, streams streamForm) (*Plan, error) {
	model := p.text("model", plainName(m.Name))
	version := p.text("model-version", "")
	slots := p.number("slots", 0, maxSlots)
	p.flags(nil, joined)
	if err := p.problem(); err != nil {
		return nil, err
	}
	e, ok := c.Endpoints[name]
	if !ok {
		return nil, noEndpoint(name, c.Endpoints)
	}
	if slots == 0 {
		slots = e.Slots
	}
	return &Plan{
		Connect: func(int) Engine {
			return newTensorClient(tensorTarget{
				address: e.Address, tls: e.TLS, key: e.Key, model: model, version: version, streams: streams, repository: e.Repository,
				strict: streams == streamWrapped, elsewhere: true,
			})
		},
		Slots: slots, MaxInFlight: slots + c.Queue,
	}, nil
}

func checkTensorTask(m Model, kind string) error {
	if m.Spec.GetTask() != commonv1.Task_TASK_TENSOR {
		return apierr.Invalid("spec.task", "engine %s only serves tensors (TASK_TENSOR)", kind)
	}
	return nil
}

// onlyWeights returns the one file of weights that a model has.
func onlyWeights(m Model, kind string) (File, error) {
	var found []File
	for _, f := range m.Files {
		if f.Role == RoleWeights {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		return File{}, apierr.Invalid("spec.artifacts", "engine %s needs one artifact of role weights, got %d", kind, len(found))
	}
	return found[0], nil
}

// localName is a model's name for an engine of its own: a plain word, for it
// becomes a directory.
func localName(m Model) string {
	name := regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(plainName(m.Name), "_")
	if name = strings.TrimLeft(name, "-"); name == "" || len(name) > 128 {
		return "model"
	}
	return name
}
