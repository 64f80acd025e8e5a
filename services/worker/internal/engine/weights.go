package engine

// Weights is what a file of weights tells to who would make others from it, or
// measure them.
type Weights struct {
	// Parameters is how many numbers it holds, and Largest how many its largest
	// tensor does.
	Parameters, Largest int64
	// Quantized says that some of them are quantised.
	Quantized bool
	// Vocabulary is how many tokens there are.
	Vocabulary int64
	// TrainedContext is the longest context that the model was trained for; 0 when
	// the file does not say.
	TrainedContext int

	info ggufInfo
}

// ReadWeights reads the head of the GGUF file at path.
func ReadWeights(path string) (Weights, error) {
	info, err := readGGUF(File{Path: path})
	if err != nil {
		return Weights{}, err
	}
	w := Weights{info: info, TrainedContext: info.trainedContext, Vocabulary: int64(info.file.Architecture().VocabularyLength)}
	for _, t := range info.file.TensorInfos {
		n := int64(t.Elements())
		w.Parameters += n
		w.Largest = max(w.Largest, n)
		trait, _ := t.Type.Trait()
		w.Quantized = w.Quantized || trait.Quantized
	}
	return w, nil
}

const logitBytes = 4

// MeasureBytes is what measuring the perplexity takes of the main memory, with
// windows of so many tokens: the weights, one slot of that context, and a
// probability of every token of the vocabulary at each place of a window.
func (w Weights) MeasureBytes(window int) int64 {
	return w.info.memory(1, window)[PoolCPU] + int64(window)*w.Vocabulary*logitBytes
}
