package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// llamaConfig is the config.json of a model with the shape of Llama 3 8B.
const llamaConfig = `{"num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,"hidden_size":4096,
"max_position_embeddings":8192,"torch_dtype":"bfloat16","rope_scaling":null}`

// safetensors is a file with the given header and so many bytes of tensors.
func safetensors(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, data)...)
}

func TestKVBytes(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		want   int64 // of a token
		heads  int
	}{
		"grouped queries":   {llamaConfig, 2 * 32 * 8 * 128 * 2, 32},
		"no key heads":      {`{"num_hidden_layers":2,"num_attention_heads":4,"hidden_size":64,"dtype":"float32"}`, 2 * 2 * 64 * 4, 4},
		"a head of its own": {`{"num_hidden_layers":1,"num_attention_heads":4,"num_key_value_heads":1,"head_dim":256,"hidden_size":64}`, 2 * 256 * 2, 4},
		"inside another":    {`{"torch_dtype":"float16","text_config":{"num_hidden_layers":3,"num_attention_heads":2,"hidden_size":8}}`, 2 * 3 * 8 * 2, 2},
		"latent":            {`{"num_hidden_layers":61,"num_attention_heads":128,"hidden_size":7168,"kv_lora_rank":512,"qk_rope_head_dim":64}`, 61 * 576 * 2, 128},
	} {
		got, err := ParseTransformer([]byte(tt.config))
		if err != nil || got.KVBytes(1, 0) != tt.want || got.Heads != tt.heads {
			t.Errorf("%s: %+v takes %d a token, want %d; %v", name, got, got.KVBytes(1, 0), tt.want, err)
		}
	}
	full, _ := ParseTransformer([]byte(llamaConfig))
	if got := full.KVBytes(8192, 1); got != 8192*2*32*8*128 {
		t.Errorf("at one byte: %d", got)
	}
	if got := full.KVBytes(1<<62, 0); got != 1<<62 {
		t.Errorf("too much: %d", got)
	}
	for _, bad := range []string{
		``, `{}`, `[]`, `{"num_hidden_layers":-1,"num_attention_heads":1,"hidden_size":8}`,
		`{"num_hidden_layers":99999999,"num_attention_heads":1,"hidden_size":8}`, `{"num_hidden_layers":1,"num_attention_heads":1e9}`,
	} {
		if got, err := ParseTransformer([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

func TestSafetensors(t *testing.T) {
	good := `{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`
	if n, err := readSafetensors(bytes.NewReader(safetensors(good, 12)), int64(8+len(good)+12)); n != 12 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for name, file := range map[string][]byte{
		"empty":             nil,
		"short":             {1, 2, 3},
		"a huge header":     {255, 255, 255, 255, 255, 255, 255, 255},
		"longer than it is": safetensors(good, 12)[:20],
		"not an object":     safetensors(`[1]`, 0),
		"outside":           safetensors(good, 11),
		"backwards":         safetensors(`{"a":{"data_offsets":[8,0]}}`, 8),
		"twice":             safetensors(`{"a":{"data_offsets":[0,8]},"b":{"data_offsets":[0,8]}}`, 8),
		"ends early":        safetensors(`{"a":{"data_offsets":[0,8]}`, 8),
	} {
		if n, err := readSafetensors(bytes.NewReader(file), int64(len(file))); err == nil {
			t.Errorf("%s: %d", name, n)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(safetensors(`{"a":{"data_offsets":[0,8]}}`, 8))
	f.Add(safetensors(`{`, 0))
	f.Fuzz(func(t *testing.T, file []byte) {
		if n, err := readSafetensors(bytes.NewReader(file), int64(len(file))); err == nil && (n < 0 || n > int64(len(file))) {
			t.Fatalf("%d of %d bytes", n, len(file))
		}
	})
}

func FuzzTransformer(f *testing.F) {
	f.Add([]byte(llamaConfig))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseTransformer(data); err == nil && c.KVBytes(1<<20, 0) <= 0 {
			t.Fatalf("%+v", c)
		}
	})
}

// hfModel writes a model in the Hugging Face layout with two files of weights.
func hfModel(t *testing.T, bytesEach int) Model {
	t.Helper()
	dir := t.TempDir()
	m := Model{Name: "m", Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: KindSim, ContextLength: 1024, Parameters: map[string]string{"slots": "4"}}}
	add := func(name, role string, data []byte) {
		path := filepath.Join(dir, fmt.Sprintf("%x", len(m.Files))) // as a cache names them
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, File{Role: role, Path: path, Name: name})
	}
	for i := range 2 {
		header := fmt.Sprintf(`{"t%d":{"dtype":"BF16","shape":[%d],"data_offsets":[0,%d]}}`, i, bytesEach/2, bytesEach)
		add(fmt.Sprintf("model-0000%d-of-00002.safetensors", i+1), RoleWeights, safetensors(header, bytesEach))
	}
	add("config.json", "runtime", []byte(llamaConfig))
	return m
}

func TestSizeOfSafetensors(t *testing.T) {
	m := hfModel(t, 1<<20)
	s, err := SizeOfSafetensors(m, 4, 1024, 0)
	if want := int64(2<<20 + 4*1024*2*32*8*128*2); err != nil || s.Shared != want || s.Heads != 32 {
		t.Fatalf("got %+v, %v; want %d shared", s, err, want)
	}
	longer, _ := SizeOfSafetensors(m, 1, 1<<20, 0)
	most, _ := SizeOfSafetensors(m, 1, 8192, 0)
	if longer != most {
		t.Errorf("more context than the model has: %+v", longer)
	}
	if sim, err := NewSimulated(thisProgram(t), 1).Size(t.Context(), m); err != nil || sim.Shared != s.Shared || sim.Host != simMemory {
		t.Errorf("the simulator: %+v, %v", sim, err)
	}
	m.Files = m.Files[:2]
	if _, err := SizeOfSafetensors(m, 4, 1024, 0); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("without config.json: %v", err)
	}
	if _, err := SizeOfSafetensors(Model{}, 4, 1024, 0); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("without weights: %v", err)
	}
	if err := os.WriteFile(m.Files[0].Path, []byte("not weights at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SizeOfSafetensors(m, 4, 1024, 0); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "model-00001-of-00002") {
		t.Errorf("with a text: %v", err)
	}
}

func TestSplits(t *testing.T) {
	for _, tt := range []struct {
		size Size
		want []int // of 1 to 8
	}{
		{Size{}, []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{Size{Heads: 32}, []int{1, 2, 4, 8}},
		{Size{Heads: 12}, []int{1, 2, 4}},
		{Size{Heads: 7}, []int{1}},
		{Size{Heads: 32, Exactly: 4}, []int{4}},
		{Size{Exactly: 3}, []int{3}},
	} {
		var got []int
		for n := range 9 {
			if tt.size.Splits(n) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v splits into %v, want %v", tt.size, got, tt.want)
		}
	}
	on := Size{Host: 5, Shared: 101, Each: 7}.On([]GPU{{Pool: "gpu1"}, {Pool: "gpu3"}})
	if on[PoolCPU] != 5 || on["gpu1"] != 58 || on["gpu3"] != 58 {
		t.Errorf("on two: %v", on)
	}
}
