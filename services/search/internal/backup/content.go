package backup

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"time"

	"github.com/poterne/poterne/services/search/internal/store"
)

// Header is a collection's settings.
type Header struct {
	Collection      string   `json:"collection"`
	DisplayName     string   `json:"display_name,omitempty"`
	EmbeddingModel  string   `json:"embedding_model"`
	EmbeddingDigest string   `json:"embedding_digest,omitempty"`
	Dimensions      int      `json:"dimensions"`
	Generation      int64    `json:"generation"`
	Fusion          string   `json:"fusion,omitempty"`
	Weights         *weights `json:"weights,omitempty"`
	VectorMetric    string   `json:"vector_metric"`
	Chunking        chunking `json:"chunking"`
	// Analyser is the version of the analyser that counted the passages' terms.
	Analyser int `json:"analyser"`
}

// chunking is how the collection's documents are cut.
type chunking struct {
	By        string `json:"by,omitempty"`
	MaxWords  int    `json:"max_words,omitempty"`
	MaxTokens int    `json:"max_tokens,omitempty"`
	Overlap   *int   `json:"overlap_words,omitempty"`
}

type weights struct {
	Lexical float64 `json:"lexical"`
	Vector  float64 `json:"vector"`
}

func headerOf(c store.Collection) Header {
	h := Header{
		Collection: c.ID, DisplayName: c.DisplayName, EmbeddingModel: c.EmbeddingModel, EmbeddingDigest: c.EmbeddingDigest,
		Dimensions: c.Dimensions, Generation: c.Generation, Fusion: c.Fusion, VectorMetric: c.VectorMetric,
		Chunking: chunking(c.Chunking), Analyser: c.Analyser,
	}
	if c.Weights != nil {
		h.Weights = &weights{Lexical: c.Weights.Lexical, Vector: c.Weights.Vector}
	}
	return h
}

// document is a document as a backup has it. A missing acl is everybody in the
// tenant.
type document struct {
	ID         string          `json:"id"`
	No         int64           `json:"no"`
	Title      string          `json:"title,omitempty"`
	Text       string          `json:"text,omitempty"`
	Metadata   json.RawMessage `json:"metadata"`
	ACL        *[]string       `json:"acl,omitempty"`
	CreateTime time.Time       `json:"create_time"`
	UpdateTime time.Time       `json:"update_time"`
	ExpireTime *time.Time      `json:"expire_time,omitempty"`
	Chunks     []chunk         `json:"chunks"`
}

type chunk struct {
	Start int    `json:"start"`
	End   int    `json:"end"`
	Terms int    `json:"terms"`
	Text  string `json:"text"`
	// Headings are those that it stands under; backups of before do not say.
	Headings []string `json:"headings,omitempty"`
}

func documentOf(v store.Version) document {
	d := document{
		ID: v.ID, No: v.No, Title: v.Title, Text: v.Text, Metadata: v.Metadata, CreateTime: v.CreateTime, UpdateTime: v.UpdateTime,
		Chunks: make([]chunk, len(v.Chunks)),
	}
	if v.HasACL {
		acl := append([]string{}, v.ACL...)
		d.ACL = &acl
	}
	if !v.ExpireTime.IsZero() {
		d.ExpireTime = &v.ExpireTime
	}
	for i, c := range v.Chunks {
		d.Chunks[i] = chunk{Start: c.Start, End: c.End, Terms: c.Terms, Text: c.Text, Headings: c.Headings}
	}
	return d
}

func appendVectors(b []byte, v store.Version) []byte {
	for _, c := range v.Chunks {
		for _, x := range c.Vector {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}
