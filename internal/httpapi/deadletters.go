package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/logcapturer/log_capturer/internal/deadletter/office"
)

// How many dead letters are shown.
const (
	defaultShown = 100
	maxShown     = 10_000
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 16 << 10

func filterOf(req *http.Request) office.Filter {
	q := req.URL.Query()
	return office.Filter{Sink: q.Get("sink"), Reason: q.Get("reason"), Source: q.Get("source")}
}

func (r Routes) deadLetters(w http.ResponseWriter, req *http.Request) {
	listing, err := r.DeadLetters.List(req.Context(), filterOf(req))
	answer(w, listing, err)
}

func (r Routes) deadEntries(w http.ResponseWriter, req *http.Request) {
	limit := defaultShown
	if text := req.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxShown {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("limit: %q; expected 1 to %d", text, maxShown))
			return
		}
	}
	shown, err := r.DeadLetters.Show(req.Context(), filterOf(req), limit)
	answer(w, shown, err)
}

func (r Routes) replay(w http.ResponseWriter, req *http.Request) {
	if order, ok := orderOf(w, req); ok {
		replayed, err := r.DeadLetters.Replay(req.Context(), order.Filter, order.DryRun)
		answer(w, replayed, err)
	}
}

func (r Routes) purge(w http.ResponseWriter, req *http.Request) {
	order, ok := orderOf(w, req)
	if !ok {
		return
	}
	if order.Filter == (office.Filter{}) && !order.All {
		refuse(w, http.StatusBadRequest, `this would remove all dead letters; give a filter, or "all": true`)
		return
	}
	purged, err := r.DeadLetters.Purge(req.Context(), order.Filter, order.DryRun)
	answer(w, purged, err)
}

// orderOf reads the body of a replay or a purge, or refuses it.
func orderOf(w http.ResponseWriter, req *http.Request) (order office.Request, ok bool) {
	body := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxBody))
	body.DisallowUnknownFields()
	err := body.Decode(&order)
	if err == nil && body.More() {
		err = errors.New("something follows the object")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the body is not understood: %v; expected an object such as {\"sink\": \"loki\"}", err))
	}
	return order, err == nil
}

// answer replies with what a desk returned.
func answer(w http.ResponseWriter, result any, err error) {
	switch {
	case err == nil:
		reply(w, http.StatusOK, result)
	case errors.Is(err, office.ErrUnknown):
		refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, office.ErrFilter):
		refuse(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, office.ErrBusy):
		refuse(w, http.StatusConflict, err.Error())
	default:
		refuse(w, http.StatusInternalServerError, err.Error())
	}
}
