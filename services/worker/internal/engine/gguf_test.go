package engine

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// The types of GGUF that ggufFile writes (ggml-org/ggml, docs/gguf.md).
const (
	ggufUint32 = 4
	ggufString = 8
	ggmlF32    = 0
	ggmlQ8     = 8
)

// ggufFile writes a model of two layers without its tensors' data, which nobody
// reads before it is loaded, and says what these take.
func ggufFile(t *testing.T, kind uint32) (File, int64) {
	t.Helper()
	const width, hidden, vocabulary, layers = 256, 1024, 4096, 2
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if s, ok := v.(string); ok {
				_ = binary.Write(&b, binary.LittleEndian, uint64(len(s)))
				b.WriteString(s)
				continue
			}
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	type tensor struct {
		name string
		dims [2]uint64
	}
	tensors := []tensor{{"token_embd.weight", [2]uint64{width, vocabulary}}, {"output.weight", [2]uint64{width, vocabulary}}}
	for _, layer := range []string{"blk.0.", "blk.1."} {
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			tensors = append(tensors, tensor{layer + name + ".weight", [2]uint64{width, width}})
		}
		tensors = append(tensors, tensor{layer + "ffn_up.weight", [2]uint64{width, hidden}},
			tensor{layer + "ffn_gate.weight", [2]uint64{width, hidden}}, tensor{layer + "ffn_down.weight", [2]uint64{hidden, width}})
	}
	numbers := map[string]uint32{
		"llama.block_count": layers, "llama.context_length": 2048, "llama.embedding_length": width, "llama.feed_forward_length": hidden,
		"llama.attention.head_count": 4, "llama.attention.head_count_kv": 4, "llama.vocab_size": vocabulary, "general.alignment": 32,
	}
	b.WriteString("GGUF")
	put(uint32(3), uint64(len(tensors)), uint64(len(numbers)+1), "general.architecture", uint32(ggufString), "llama")
	for name, n := range numbers {
		put(name, uint32(ggufUint32), n)
	}
	var size uint64
	for _, tn := range tensors {
		put(tn.name, uint32(2), tn.dims[0], tn.dims[1], kind, size)
		n := tn.dims[0] * tn.dims[1]
		if size += n * 4; kind == ggmlQ8 {
			size -= n*4 - n/32*34
		}
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(b.Len())+int64(size)+64); err != nil {
		t.Fatal(err)
	}
	return File{Path: path, Role: RoleWeights}, int64(size)
}

// Smaller weights need less memory, by about as much as they are smaller: what
// does not fit may then be served by a smaller form.
func TestTheEstimateOfGGUFHasTheWeightsInIt(t *testing.T) {
	t.Parallel()
	need := func(kind uint32) (int64, int64) {
		f, size := ggufFile(t, kind)
		info, err := readGGUF(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.trainedContext != 2048 {
			t.Errorf("trained for %d tokens", info.trainedContext)
		}
		onGPU := info.size(1, 512, allLayers)
		if onGPU.Host >= info.memory(1, 512)[PoolCPU] {
			t.Error("what is put on GPUs is counted in the main memory too")
		}
		return info.memory(1, 512)[PoolCPU], size
	}
	large, largeSize := need(ggmlF32)
	small, smallSize := need(ggmlQ8)
	if large < largeSize || small < smallSize {
		t.Errorf("%d and %d bytes are needed for weights of %d and %d", large, small, largeSize, smallSize)
	}
	less, share := large-small, 0.05
	if want := largeSize - smallSize; float64(less) < (1-share)*float64(want) || float64(less) > (1+share)*float64(want) {
		t.Errorf("weights that are %d bytes smaller need %d less", want, less)
	}
}
