package allinone

// explainRequests are those about what became of requests.
func explainRequests() map[string]request {
	return map[string]request{
		"RequestService/GetRequest": {json: `{"id":"{request}"}`, tells: true},
	}
}
