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
│   ├── DataFilesRefused        403  data-files-refused
│   └── CrossSiteRefused        403  cross-site-refused
├── NotFound                    404  not-found
│   ├── UnknownHandle           404  unknown-handle
│   ├── UnknownLocal            404  unknown-local
│   ├── DatasetNotFound         404  dataset-not-found
│   └── SplitNotFound           404  split-not-found
├── MethodNotAllowed            405  method-not-allowed
├── NobodyServes                410  nobody-serves
├── ContentChanged              412  content-changed
├── BodyTooLarge                413  body-too-large
├── UrlTooLong                  414  url-too-long
├── UnsupportedMediaType        415  unsupported-media-type
├── HeadersTooLarge             431  headers-too-large
├── Unavailable                 503  unavailable
│   ├── NotReady                503  not-ready
│   ├── TooManyConnections      503  too-many-connections
│   ├── TooManyStreams          503  too-many-streams
│   └── TooManyLoads            503  too-many-loads
├── DatasetDamaged              500  dataset-damaged
├── UncarriableValue            500  uncarriable-value
├── SettingError                     bad-setting            (start-up only)
│   └── BadBundle                    bad-bundle
├── PageError                        page-error             (client only)
│   ├── ServerUnreachable            server-unreachable
│   │   └── OutageTooLong            outage-too-long
│   ├── ServerUntrusted              server-untrusted
│   ├── PageCut                      page-cut
│   └── PageForeign                  page-foreign
├── AnswerTooLarge                   answer-too-large       (client only)
├── IterationBroken                  iteration-broken       (client only)
├── NotIndexable                     not-indexable          (client only)
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
    CrossSiteRefused as CrossSiteRefused,
    DataFilesRefused as DataFilesRefused,
    DatasetDamaged as DatasetDamaged,
    DatasetNotFound as DatasetNotFound,
    Forbidden as Forbidden,
    HeadersTooLarge as HeadersTooLarge,
    HubDisabled as HubDisabled,
    MethodNotAllowed as MethodNotAllowed,
    NobodyServes as NobodyServes,
    NotFound as NotFound,
    NotReady as NotReady,
    PathsDisabled as PathsDisabled,
    SplitNotFound as SplitNotFound,
    TooManyConnections as TooManyConnections,
    TooManyLoads as TooManyLoads,
    TooManyStreams as TooManyStreams,
    Unavailable as Unavailable,
    UncarriableValue as UncarriableValue,
    UnknownColumn as UnknownColumn,
    UnknownHandle as UnknownHandle,
    UnknownLocal as UnknownLocal,
    UnsupportedMediaType as UnsupportedMediaType,
    UrlTooLong as UrlTooLong,
)
from .base import FdssError as FdssError
from .conditions import (
    AnswerTooLarge as AnswerTooLarge,
    BadBundle as BadBundle,
    IterationBroken as IterationBroken,
    NotIndexable as NotIndexable,
    OutageTooLong as OutageTooLong,
    PageCut as PageCut,
    PageError as PageError,
    PageForeign as PageForeign,
    ServerUnreachable as ServerUnreachable,
    ServerUntrusted as ServerUntrusted,
    SettingError as SettingError,
    StateRefused as StateRefused,
    UnsupportedStep as UnsupportedStep,
)
from .kinds import (
    error_kinds as error_kinds,
    kind_of_status as kind_of_status,
)
