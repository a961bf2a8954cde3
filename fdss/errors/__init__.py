"""The tree of errors, shared by server, client and command line.

FdssError                       500  internal
├── BadRequest                  400  bad-request
│   ├── BadParameter            400  bad-parameter
│   ├── BadSplit                400  bad-split
│   └── UnknownColumn           400  unknown-column
├── AuthenticationRequired      401  authentication-required
├── Forbidden                   403  forbidden
│   ├── HubDisabled             403  hub-disabled
│   ├── PathsDisabled           403  paths-disabled
│   ├── BuilderRefused          403  builder-refused
│   └── DataFilesRefused        403  data-files-refused
├── NotFound                    404  not-found
│   ├── UnknownHandle           404  unknown-handle
│   ├── UnknownLocal            404  unknown-local
│   ├── DatasetNotFound         404  dataset-not-found
│   └── SplitNotFound           404  split-not-found
├── MethodNotAllowed            405  method-not-allowed
├── ContentChanged              412  content-changed
├── BodyTooLarge                413  body-too-large
├── UnsupportedMediaType        415  unsupported-media-type
├── Unavailable                 503  unavailable
├── DatasetDamaged              500  dataset-damaged
├── UncarriableValue            500  uncarriable-value
├── SettingError                     bad-setting            (start-up only)
├── PageError                        page-error             (client only)
│   ├── ServerUnreachable            server-unreachable
│   ├── PageCut                      page-cut
│   └── PageForeign                  page-foreign
├── IterationBroken                  iteration-broken       (client only)
├── StateRefused                     state-refused          (client only)
└── UnsupportedStep                  unsupported-step       (client only)

A message is one sentence: what was asked, what was found. A hint is the flag, call or
command that helps. Nobody branches on the text of either; ``code`` is for that.
"""

from __future__ import annotations

from .answers import (
    AuthenticationRequired as AuthenticationRequired,
    BadParameter as BadParameter,
    BadRequest as BadRequest,
    BadSplit as BadSplit,
    BodyTooLarge as BodyTooLarge,
    BuilderRefused as BuilderRefused,
    ContentChanged as ContentChanged,
    DataFilesRefused as DataFilesRefused,
    DatasetDamaged as DatasetDamaged,
    DatasetNotFound as DatasetNotFound,
    Forbidden as Forbidden,
    HubDisabled as HubDisabled,
    MethodNotAllowed as MethodNotAllowed,
    NotFound as NotFound,
    PathsDisabled as PathsDisabled,
    SplitNotFound as SplitNotFound,
    Unavailable as Unavailable,
    UncarriableValue as UncarriableValue,
    UnknownColumn as UnknownColumn,
    UnknownHandle as UnknownHandle,
    UnknownLocal as UnknownLocal,
    UnsupportedMediaType as UnsupportedMediaType,
)
from .base import FdssError as FdssError
from .conditions import (
    IterationBroken as IterationBroken,
    PageCut as PageCut,
    PageError as PageError,
    PageForeign as PageForeign,
    ServerUnreachable as ServerUnreachable,
    SettingError as SettingError,
    StateRefused as StateRefused,
    UnsupportedStep as UnsupportedStep,
)
from .kinds import (
    error_kinds as error_kinds,
    kind_of_status as kind_of_status,
)
