package httpapi

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// PathComponents lists the components that can be switched; one of them is below it.
const PathComponents = apiPrefix + "v1/components"

// Component is a part of the agent that can be switched off and on while it runs.
type Component = ledger.ComponentState

// Components switches them; from many goroutines.
type Components interface {
	// List returns those that are configured, by name.
	List() []Component
	// Switch switches one on or off, and returns when that is done, with its state then. A
	// component that is in that state already is left so. Errors: ErrUnknown; ErrBusy when
	// it cannot be done now, or something of the component has not ended.
	Switch(name string, running bool) (Component, error)
}

var (
	// ErrUnknown: there is no such component.
	ErrUnknown = errors.New("there is no component")
	// ErrBusy: try again.
	ErrBusy = errors.New("not now")
)

// order is the body of a switch.
type order struct {
	Running *bool `json:"running"`
}

func (r Routes) components(w http.ResponseWriter, _ *http.Request) {
	list := r.Components.List()
	if list == nil {
		list = []Component{}
	}
	reply(w, http.StatusOK, map[string][]Component{"components": list})
}

func (r Routes) switchComponent(w http.ResponseWriter, req *http.Request) {
	var o order
	body := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxBody))
	body.DisallowUnknownFields()
	err := body.Decode(&o)
	if err == nil && body.More() {
		err = errors.New("something follows the object")
	}
	if err == nil && o.Running == nil {
		err = errors.New("running is missing")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the body is not understood: %v; expected {\"running\": false} or true", err))
		return
	}
	state, err := r.Components.Switch(req.PathValue("name"), *o.Running)
	switch {
	case err == nil:
		reply(w, http.StatusOK, state)
	case errors.Is(err, ErrUnknown):
		refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrBusy):
		refuse(w, http.StatusConflict, err.Error())
	default:
		refuse(w, http.StatusInternalServerError, err.Error())
	}
}

// authenticated lets in who has the token.
func (r Routes) authenticated(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || r.Token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(r.Token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, req.URL.Path+" asks for the agent's token; send Authorization: Bearer and what is in api_token in its data_dir")
			return
		}
		next(w, req)
	}
}
