// Package mcptool is the tools that the gateway offers over the Model Context Protocol:
// what they are called and take, and which call of the gateway's own each stands for.
// A tool's call passes the chain as its caller's, so nobody may more by a tool than
// without. It knows no protocol: package mcpserver speaks it. Start reading at Tools,
// then Caller.Call.
package mcptool

// Tool is what a client is told of a tool.
type Tool struct {
	Name        string
	Title       string
	Description string
	// Input is the JSON schema of its arguments, and Output of what it answers.
	Input, Output string
	// Generates: it has a model work, rather than only reading.
	Generates bool
}

// The tools' names.
const (
	Search          = "search"
	Chat            = "chat"
	ListCollections = "list_collections"
	ListModels      = "list_models"
)

// Tools returns all tools, by name.
func Tools() []Tool {
	return []Tool{
		{
			Name: Chat, Title: "Ask a model", Generates: true, Output: chatOutput,
			Description: "Asks one of the gateway's models. With a collection it answers from the passages of that collection which you may read, and says which in citations.",
			Input: `{"type":"object","additionalProperties":false,"required":["model","prompt"],"properties":{` +
				`"model":{"type":"string","minLength":1,"maxLength":256,"description":"The model's name, as list_models tells it."},` +
				`"prompt":{"type":"string","minLength":1,"description":"What is asked."},` +
				`"system":{"type":"string","description":"What the model is told beforehand."},` +
				`"max_tokens":{"type":"integer","minimum":1,"description":"At most this many tokens are generated."},` +
				`"temperature":{"type":"number","minimum":0,"maximum":2},` +
				`"collection":{"type":"string","maxLength":63,"description":"Answer from the documents of this collection."},` +
				`"top_k":{"type":"integer","minimum":1,"maximum":50,"description":"With a collection: how many passages, 5 unless said."},` +
				`"filter":{"type":"string","maxLength":4096,"description":"With a collection: an AIP-160 filter over the documents' metadata."}}}`,
		},
		{
			Name: ListCollections, Title: "List collections", Output: collectionsOutput,
			Description: "Lists the collections of documents that you may search.",
			Input:       pageInput,
		},
		{
			Name: ListModels, Title: "List models", Output: modelsOutput,
			Description: "Lists the models that you may ask; those of the task chat answer the tool chat.",
			Input:       pageInput,
		},
		{
			Name: Search, Title: "Search documents", Output: searchOutput,
			Description: "Searches a collection of documents and returns the passages that match best and that you may read, the best first.",
			Input: `{"type":"object","additionalProperties":false,"required":["collection","query"],"properties":{` +
				`"collection":{"type":"string","minLength":1,"maxLength":63,"description":"The collection's id, as list_collections tells it."},` +
				`"query":{"type":"string","minLength":1,"maxLength":8192,"description":"What is looked for, in plain words."},` +
				`"top_k":{"type":"integer","minimum":1,"maximum":50,"description":"How many passages, 5 unless said."},` +
				`"mode":{"type":"string","enum":["hybrid","lexical","vector"],"description":"By words, by meaning, or both, which is the default."},` +
				`"filter":{"type":"string","maxLength":4096,"description":"An AIP-160 filter over the documents' metadata, such as year >= 2020."}}}`,
		},
	}
}

const (
	pageInput = `{"type":"object","additionalProperties":false,"properties":{` +
		`"page_token":{"type":"string","maxLength":512,"description":"Where to go on: next_page_token of the page before."}}}`
	nextPage    = `"next_page_token":{"type":"string"}`
	passageBody = `"document_id":{"type":"string"},"chunk_id":{"type":"string"},"title":{"type":"string"},"score":{"type":"number"}`

	searchOutput = `{"type":"object","required":["passages"],"properties":{"passages":{"type":"array","items":{"type":"object",` +
		`"required":["document_id","chunk_id","score","text"],"properties":{` + passageBody + `,"text":{"type":"string"}}}}}}`
	chatOutput = `{"type":"object","required":["model","text"],"properties":{"model":{"type":"string"},"text":{"type":"string"},` +
		`"finish_reason":{"type":"string"},"citations":{"type":"array","items":{"type":"object","properties":{` + passageBody + `}}},` +
		`"prompt_tokens":{"type":"integer"},"completion_tokens":{"type":"integer"}}}`
	collectionsOutput = `{"type":"object","required":["collections"],"properties":{"collections":{"type":"array","items":{"type":"object",` +
		`"required":["id"],"properties":{"id":{"type":"string"},"display_name":{"type":"string"},"documents":{"type":"integer"}}}},` + nextPage + `}}`
	modelsOutput = `{"type":"object","required":["models"],"properties":{"models":{"type":"array","items":{"type":"object",` +
		`"required":["id","task"],"properties":{"id":{"type":"string"},"task":{"type":"string"},"state":{"type":"string"},` +
		`"context_length":{"type":"integer"}}}},` + nextPage + `}}`
)
