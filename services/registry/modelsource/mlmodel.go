package modelsource

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// mlModel is what is read of an MLmodel file (MLflow's documentation, "MLflow
// Model format").
type mlModel struct {
	Flavors   map[string]map[string]any `yaml:"flavors"`
	Signature struct {
		Inputs  string `yaml:"inputs"`
		Outputs string `yaml:"outputs"`
	} `yaml:"signature"`
}

// servedFlavors are the flavours that MLServer has a runtime for, in the order in
// which they are looked for: a model has several, and one of them says what its
// file is.
func servedFlavors() []string { return []string{"xgboost", "lightgbm", "catboost", "sklearn"} }

func (r *reader) mlflow(ctx context.Context) (*Found, error) {
	raw, err := r.text(ctx, "MLmodel")
	if err != nil {
		return nil, err
	}
	var m mlModel
	if err := yaml.Unmarshal(raw, &m); err != nil {
		return nil, notServed("MLmodel cannot be read: %s", firstLine(err.Error()))
	}
	for _, flavor := range servedFlavors() {
		if conf, ok := m.Flavors[flavor]; ok {
			return r.tensorFlavor(ctx, m, flavor, conf)
		}
	}
	if _, ok := m.Flavors["transformers"]; ok {
		return r.transformers(ctx, m.Flavors["transformers"])
	}
	if len(r.ggufs()) > 0 {
		return r.gguf(ctx)
	}
	names := make([]string, 0, len(m.Flavors))
	for name := range m.Flavors {
		names = append(names, name)
	}
	slices.Sort(names)
	return nil, notServed("its flavours are %s: what runs Python of its own is not run here, and no file of it is one that an engine takes",
		strings.Join(names, ", "))
}

func (r *reader) tensorFlavor(ctx context.Context, m mlModel, flavor string, conf map[string]any) (*Found, error) {
	name := text(conf, "pickled_model", "data", "model")
	f, ok := r.file(name)
	if !ok {
		return nil, notServed("the flavour %s names the file %q, which is not there", flavor, name)
	}
	if flavor == "sklearn" && strings.EqualFold(path.Ext(name), ".skops") {
		return nil, notServed("the model is written by skops, which MLServer does not read: log it with serialization_format=\"cloudpickle\"")
	}
	weights, err := r.artifact(ctx, f, "weights")
	if err != nil {
		return nil, err
	}
	found := &Found{Spec: &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_TENSOR, Engine: "mlserver", Artifacts: []*commonv1.Artifact{weights}, Parameters: map[string]string{},
	}}
	if flavor != "sklearn" {
		found.Spec.Parameters["runtime"] = flavor
	}
	found.signature("inputs", m.Signature.Inputs, "x")
	found.signature("outputs", m.Signature.Outputs, "predict")
	return found, nil
}

// signature puts what MLflow says of inputs or outputs into the parameter that the
// engine declares them by.
func (f *Found) signature(parameter, signature, name string) {
	if signature == "" || signature == "null" {
		f.note("it has no signature: %s are not declared", parameter)
		return
	}
	tensors, err := tensorsOf(signature, name)
	if err == nil && len(tensors) > 1024 {
		err = fmt.Errorf("they take %d characters", len(tensors))
	}
	if err != nil {
		f.note("the signature's %s are not declared: %v", parameter, err)
		return
	}
	f.Spec.Parameters[parameter] = tensors
}

// column is one entry of a signature: a column of a table, or a tensor.
type column struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Tensor struct {
		Dtype string  `json:"dtype"`
		Shape []int64 `json:"shape"`
	} `json:"tensor-spec"`
}

// tensorsOf returns a signature as `name:TYPE[dimension,…]` with `;` between. The
// columns of a table become one matrix, which is what MLServer gives its models:
// of the columns' common type.
func tensorsOf(signature, name string) (string, error) {
	var columns []column
	if err := json.Unmarshal([]byte(signature), &columns); err != nil || len(columns) == 0 {
		return "", fmt.Errorf("they are not a list of columns or tensors")
	}
	if columns[0].Type != "tensor" {
		datatype, err := commonType(columns)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s:%s[-1,%d]", name, datatype, len(columns)), nil
	}
	var out []string
	for i, c := range columns {
		datatype, ok := numpyTypes()[c.Tensor.Dtype]
		if !ok {
			return "", fmt.Errorf("the type %q has no name in the protocol", c.Tensor.Dtype)
		}
		label := c.Name
		if label == "" {
			label = name
			if i > 0 {
				label = fmt.Sprintf("%s%d", name, i)
			}
		}
		if strings.ContainsAny(label, ":;[]") {
			return "", fmt.Errorf("a tensor's name has one of : ; [ ]")
		}
		dims := make([]string, len(c.Tensor.Shape))
		for j, d := range c.Tensor.Shape {
			dims[j] = fmt.Sprint(d)
		}
		out = append(out, fmt.Sprintf("%s:%s[%s]", label, datatype, strings.Join(dims, ",")))
	}
	return strings.Join(out, ";"), nil
}

func numpyTypes() map[string]string {
	return map[string]string{
		"float64": "FP64", "float32": "FP32", "float16": "FP16", "int64": "INT64", "int32": "INT32", "int16": "INT16", "int8": "INT8",
		"uint64": "UINT64", "uint32": "UINT32", "uint16": "UINT16", "uint8": "UINT8", "bool": "BOOL", "object": "BYTES", "str": "BYTES",
	}
}

func commonType(columns []column) (string, error) {
	known := map[string]string{"double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL", "string": "BYTES"}
	var common string
	for _, c := range columns {
		t, ok := known[c.Type]
		switch {
		case !ok:
			return "", fmt.Errorf("the column type %q has no name in the protocol", c.Type)
		case common == "" || common == t:
			common = t
		case t == "BYTES" || common == "BYTES":
			return "", fmt.Errorf("texts and numbers do not make one tensor")
		default:
			common = "FP64"
		}
	}
	return common, nil
}

// transformers reads a model that MLflow logged with its transformers flavour: a
// Hugging Face directory below another name.
func (r *reader) transformers(ctx context.Context, conf map[string]any) (*Found, error) {
	dir := text(conf, "model_binary")
	if dir == "" {
		return nil, notServed("the transformers flavour names a model of the hub instead of bringing it along")
	}
	found, err := r.transformer(ctx, strings.TrimSuffix(dir, "/")+"/")
	if err == nil && !slices.ContainsFunc(found.Spec.GetArtifacts(), func(a *commonv1.Artifact) bool { return a.GetRole() == "tokenizer" }) {
		return nil, notServed("the tokeniser lies beside the model, and engines read both from one directory: put them together and register that")
	}
	return found, err
}

// text returns the first of the keys that holds a text.
func text(conf map[string]any, keys ...string) string {
	for _, key := range keys {
		if s, ok := conf[key].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
